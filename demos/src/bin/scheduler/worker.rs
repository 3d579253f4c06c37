//! What every process is: a member of the group, whose data is the address at which it takes jobs.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time;

use crate::ledger::{Entry, Ledger};
use demos::BoxError;
use demos::print::complain;

/// How long a leader waits for a worker before it asks another.
const PATIENCE: Duration = Duration::from_millis(700);

/// Takes jobs, one a connection: `job minute term`, answered with what the ledger says.
pub(crate) async fn serve(listener: TcpListener, name: String, ledger: &Path) -> Result<(), BoxError> {
    let ledger = Arc::new(Mutex::new(Ledger::open(ledger)?));
    loop {
        let (connection, _) = listener.accept().await?;
        let (name, ledger) = (name.clone(), Arc::clone(&ledger));
        tokio::spawn(async move {
            if let Err(error) = run(connection, &name, &ledger).await {
                complain!("{name}: {error}");
            }
        });
    }
}

async fn run(mut connection: TcpStream, name: &str, ledger: &Mutex<Ledger>) -> Result<(), BoxError> {
    let (reader, mut writer) = connection.split();
    let Some(order) = BufReader::new(reader).lines().next_line().await? else {
        return Ok(());
    };
    let fields: Vec<_> = order.split(' ').collect();
    let [job, minute, term] = fields[..] else {
        return Err(format!("not an order: {order}").into());
    };
    // Here the job would do its work.
    let entry = {
        let mut ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.record(job, minute.parse()?, name, term.parse()?)?
    };
    let answer = match entry {
        Entry::Recorded => "recorded\n".to_owned(),
        Entry::Duplicate => "duplicate\n".to_owned(),
        Entry::Refused { newest } => format!("refused {newest}\n"),
    };
    writer.write_all(answer.as_bytes()).await?;
    Ok(())
}

/// Has the worker at `address` run a job.
pub(crate) async fn order(address: &str, job: &str, minute: u32, term: i64) -> Result<Entry, BoxError> {
    let asked = async {
        let mut connection = TcpStream::connect(address).await?;
        let (reader, mut writer) = connection.split();
        writer.write_all(format!("{job} {minute} {term}\n").as_bytes()).await?;
        let answer = BufReader::new(reader).lines().next_line().await?.unwrap_or_default();
        match answer.split_once(' ') {
            None if answer == "recorded" => Ok(Entry::Recorded),
            None if answer == "duplicate" => Ok(Entry::Duplicate),
            Some(("refused", newest)) => Ok(Entry::Refused {
                newest: newest.parse()?,
            }),
            _ => Err(BoxError::from(format!("not an answer: {answer}"))),
        }
    };
    time::timeout(PATIENCE, asked).await?
}
