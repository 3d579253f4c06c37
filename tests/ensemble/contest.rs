//! Contenders in this process, each with a session of its own, while faults strike.

use std::time::Duration;

use futures::future::join_all;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use zookeeper_recipes::Coordinator;
use zookeeper_testkit::{Fixture, History, ServerTruth, eventually, within};

use crate::audit::audit;
use crate::belief::Log;
use crate::books::Books;
use crate::closing::close;
use crate::ensemble::{Ensemble, SESSION, connect};
use crate::recipes::{BOOKED, RECIPES, Recipe};
use crate::workload::{self, Contender, Pace};

/// After a fault, for elections, reconnects and expiries; a bound against hanging, no measure of speed.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Contest {
    history: History,
    books: Books,
    _truth: ServerTruth,
    stop: watch::Sender<bool>,
    contenders: Vec<JoinHandle<Contender>>,
}

impl Contest {
    /// Of all recipes, by contenders who are connected to all servers.
    pub(crate) async fn start(ensemble: &Ensemble, fixture: &Fixture, size: usize, session: Duration) -> Self {
        let contenders = (0..size).map(|_| ensemble.connect(fixture, session));
        Self::with(RECIPES, join_all(contenders).await, fixture).await
    }

    /// Beside another test: of the queues and relays, by two contenders on the link that is struck, `connect_string`, and
    /// two on their own.
    pub(crate) async fn beside(fixture: &Fixture, connect_string: &str) -> Self {
        let well = fixture.connect_string();
        let contenders = [connect_string, &well, connect_string, &well].map(|servers| connect(servers, SESSION));
        Self::with(BOOKED, join_all(contenders).await, fixture).await
    }

    async fn with(recipes: &'static [Recipe], coordinators: Vec<Coordinator>, fixture: &Fixture) -> Self {
        workload::prepare(fixture).await;
        let (history, books) = (History::new(), Books::default());
        let truth = ServerTruth::record(fixture.raw(), "/", &history).await;
        let stop = watch::Sender::new(false);
        let mut contenders = Vec::new();
        for (index, zk) in coordinators.into_iter().enumerate() {
            let log = Log::with_books(&history, &books);
            let (who, pace) = (format!("contender-{index}"), (Pace::Crowded, recipes));
            let contender = Contender::new(zk, who, log, pace, fastrand::u64(..), stop.subscribe());
            contenders.push(tokio::spawn(contender.contend()));
        }
        let contest = Self {
            history,
            books,
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
    pub(crate) async fn finish(self, fixture: &Fixture) {
        self.stop.send_replace(true);
        let mut contenders = Vec::new();
        for contender in self.contenders {
            let ended = within(PATIENCE, "everybody is granted in the end", contender).await;
            contenders.push(ended.expect("a contender broke a promise, see above"));
        }
        let zk = connect(&fixture.connect_string(), SESSION).await;
        let (log, pace) = (Log::with_books(&self.history, &self.books), Pace::Crowded);
        let last = Contender::new(zk, "last".to_owned(), log, (pace, &[]), 0, self.stop.subscribe());
        close(&last, pace, contenders, fixture).await;
        last.zk.close().await;
        workload::assert_nothing_left(fixture, 3 * SESSION).await;
        println!("checked: {}", self.history.assert_sound());
        match audit(&self.books.facts()) {
            Ok(sum) => println!("checked: {sum}"),
            Err(violations) => panic!("{} violations: {violations:#?}", violations.len()),
        }
    }
}
