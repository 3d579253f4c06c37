//! The bank: it books each share once per phase, however often it is called, and notes breaches of its rules.
//!
//! A call is one line, `<worker> <phase> <share> <cents>`, and so is the answer.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use crate::SHARES;
use demos::BoxError;

/// How long the bank takes for a call.
const EFFORT: Duration = Duration::from_millis(15);
/// The call during which the worker is killed: the first of this one in this phase.
const TRAP: (usize, usize) = (2, 1);

/// What the bank knows at the end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Book {
    booked: BTreeMap<(usize, usize), i64>,
    /// Calls for what is booked already.
    pub(crate) again: usize,
    /// Calls that contradict what is booked already.
    pub(crate) wrong: usize,
    /// Calls for a phase before the one before it was complete.
    pub(crate) early: usize,
    pub(crate) most_at_once: usize,
    at_once: usize,
}

impl Book {
    pub(crate) fn cents(&self, phase: usize, share: usize) -> Option<i64> {
        self.booked.get(&(phase, share)).copied()
    }

    fn enter(&mut self, call: &Call) -> &'static str {
        let before = |(phase, _): &&(usize, usize)| phase + 1 == call.phase;
        if call.phase > 0 && self.booked.keys().filter(before).count() < SHARES {
            self.early += 1;
        }
        match self.booked.insert((call.phase, call.share), call.cents) {
            None => "booked",
            Some(cents) if cents == call.cents => {
                self.again += 1;
                "booked before"
            }
            Some(cents) => {
                self.wrong += 1;
                self.booked.insert((call.phase, call.share), cents);
                "refused"
            }
        }
    }
}

/// The bank's end of the line.
#[derive(Debug)]
pub(crate) struct Bank {
    addr: SocketAddr,
    book: Arc<Mutex<Book>>,
}

impl Bank {
    /// Opens for calls. `trapped` is told which worker is to be killed, once.
    pub(crate) fn open(trapped: UnboundedSender<usize>) -> Result<Self, BoxError> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let addr = listener.local_addr()?;
        let book = Arc::new(Mutex::new(Book::default()));
        let trap = Arc::new(Mutex::new(Some(trapped)));
        thread::spawn({
            let book = Arc::clone(&book);
            move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    let (book, trap) = (Arc::clone(&book), Arc::clone(&trap));
                    // A caller that hangs up has no use for an answer.
                    thread::spawn(move || drop(answer(&stream, &book, &trap)));
                }
            }
        });
        Ok(Self { addr, book })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn book(&self) -> Book {
        lock(&self.book).clone()
    }
}

#[derive(Debug)]
struct Call {
    worker: usize,
    phase: usize,
    share: usize,
    cents: i64,
}

impl Call {
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split_whitespace();
        Some(Self {
            worker: fields.next()?.parse().ok()?,
            phase: fields.next()?.parse().ok()?,
            share: fields.next()?.parse().ok()?,
            cents: fields.next()?.parse().ok()?,
        })
    }
}

fn answer(
    stream: &TcpStream,
    book: &Mutex<Book>,
    trap: &Mutex<Option<UnboundedSender<usize>>>,
) -> Result<(), BoxError> {
    let mut lines = BufReader::new(stream).lines();
    let line = lines.next().ok_or("no call")??;
    let call = Call::parse(&line).ok_or("no call")?;
    {
        let mut book = lock(book);
        book.at_once += 1;
        book.most_at_once = book.most_at_once.max(book.at_once);
    }
    thread::sleep(EFFORT);
    let answer = lock(book).enter(&call);
    let trapped = match (call.worker, call.phase) {
        TRAP => lock(trap).take(),
        _ => None,
    };
    if let Some(trapped) = trapped {
        trapped.send(call.worker)?;
        // Until the caller is dead.
        drop(lines.next());
    }
    lock(book).at_once -= 1;
    Ok(writeln!(&mut &*stream, "{answer}")?)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
