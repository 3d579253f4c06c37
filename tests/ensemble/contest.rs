//! Contenders in this process, each with a session of its own, while faults strike.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use zookeeper_testkit::{Fixture, History, ServerTruth, Summary, eventually, within};

use crate::belief::Log;
use crate::ensemble::{Ensemble, SESSION};
use crate::workload::{self, Contender, Pace};

/// After a fault, for elections, reconnects and expiries; a bound against hanging, no measure of speed.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Contest {
    history: History,
    _truth: ServerTruth,
    stop: watch::Sender<bool>,
    contenders: Vec<JoinHandle<()>>,
}

impl Contest {
    pub(crate) async fn start(ensemble: &Ensemble, fixture: &Fixture, size: usize, session: Duration) -> Self {
        workload::prepare(fixture).await;
        let history = History::new();
        let truth = ServerTruth::record(fixture.raw(), "/", &history).await;
        let stop = watch::Sender::new(false);
        let mut contenders = Vec::new();
        for index in 0..size {
            let zk = ensemble.connect(fixture, session).await;
            let log = Log::to(&history);
            let who = format!("contender-{index}");
            let contender = Contender::new(zk, who, log, Pace::Crowded, fastrand::u64(..), stop.subscribe());
            contenders.push(tokio::spawn(contender.contend()));
        }
        let contest = Self {
            history,
            _truth: truth,
            stop,
            contenders,
        };
        contest.until_goes_on().await;
        contest
    }

    /// Waits until places are granted again.
    pub(crate) async fn until_goes_on(&self) {
        let before = self.history.grants().len();
        eventually(PATIENCE, "places are granted again", || async {
            self.history.grants().len() >= before + 20
        })
        .await;
    }

    /// Waits until everybody has been granted once more, and checks all promises.
    pub(crate) async fn finish(self, fixture: &Fixture) -> Summary {
        self.stop.send_replace(true);
        for contender in self.contenders {
            let ended = within(PATIENCE, "everybody is granted in the end", contender).await;
            ended.expect("a contender broke a promise, see above");
        }
        workload::assert_nothing_left(fixture, 3 * SESSION).await;
        let summary = self.history.assert_sound();
        println!("checked: {summary}");
        summary
    }
}
