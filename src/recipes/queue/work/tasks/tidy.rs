//! Clearing away what is left over: segments that are done, blocks and slots that are empty. No pop waits for it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::debug;

use super::super::store::{BlockId, Lane, Picture, Slots, Store, numbers, span_of};
use crate::session::{Interrupted, Session};
use crate::znode::list;

/// What is told within such a time is looked at together.
const COLLECT: Duration = Duration::from_millis(20);

/// Tidies blocks that it is told of, until it cannot be told any more.
pub(crate) async fn tidy_all(store: Arc<Store>, mut incoming: mpsc::UnboundedReceiver<BlockId>) {
    while let Some(first) = incoming.recv().await {
        tokio::time::sleep(COLLECT).await;
        let mut blocks = BTreeSet::from([first]);
        while let Ok(block) = incoming.try_recv() {
            blocks.insert(block);
        }
        let Ok(session) = store.zk.session().await else {
            continue;
        };
        for block in blocks {
            if let Err(error) = tidy(&store, &session, block).await {
                debug!(queue = store.path(), ?block, ?error, "left as it is");
            }
        }
    }
}

async fn tidy(store: &Store, session: &Arc<Session>, block: BlockId) -> Result<(), Interrupted> {
    let path = store.layout.block(block);
    let picture = Picture::of(&list(session, &path).await?);
    // A segment whose ranges are all gone stays so: ranges come from a push or from a larger range.
    let mut gone: Vec<String> = picture
        .done
        .iter()
        .map(|segment| path.child(&segment.to_string()))
        .collect();
    if picture.is_empty {
        let lane = store.layout.lane(block.lane);
        let blocks = numbers::<i32>(&list(session, &lane).await?);
        let is_last = blocks.last().is_none_or(|last| *last == block.number);
        match block.lane {
            Lane::Delayed(slot) if blocks.is_empty() || blocks == [block.number] => {
                // What is pushed to the slot at this moment makes it again.
                let found = !blocks.is_empty();
                gone.extend(found.then(|| path.as_str().to_owned()));
                let slots = list(session, &store.layout.span(Slots::Delayed, span_of(slot))).await?;
                if slots.contains(&slot.to_string()) {
                    gone.push(lane.as_str().to_owned());
                }
                store.forget_tail(block.lane);
            }
            _ if !is_last && blocks.contains(&block.number) => gone.push(path.as_str().to_owned()),
            _ => {}
        }
    }
    for part in gone.chunks(128) {
        // Refused, something was pushed there or another was here; it is seen again.
        store.remove(session, part).await?;
    }
    if let Lane::Delayed(slot) = block.lane {
        tidy_span(store, session, slot).await?;
    }
    Ok(())
}

async fn tidy_span(store: &Store, session: &Arc<Session>, slot: i64) -> Result<(), Interrupted> {
    let now = store.now(session).await?;
    let span = store.layout.span(Slots::Delayed, span_of(slot));
    if span_of(slot) < span_of(now) && list(session, &span).await?.is_empty() {
        store.remove(session, &[span.as_str().to_owned()]).await?;
    }
    Ok(())
}
