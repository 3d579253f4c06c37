//! The floor: what the transactions alone cost of which any queue is made.

use std::time::Instant;

use futures::stream::{self, StreamExt, TryStreamExt};
use zookeeper_client::{Acls, Client, CreateMode};

use crate::table::Rates;
use crate::{Failure, PAYLOAD};

/// Creates or deletes in a transaction.
pub(crate) const BATCH: usize = 100;

pub(crate) struct Floor {
    client: Client,
    dir: String,
}

impl Floor {
    pub(crate) async fn set_up(cluster: &str, dir: &str) -> Result<Self, Failure> {
        let client = Client::connect(cluster).await?;
        let dir = format!("{dir}/floor");
        client
            .create(&dir, b"", &CreateMode::Persistent.with_acls(Acls::anyone_all()))
            .await?;
        Ok(Self { client, dir })
    }

    /// Creates so many nodes, then deletes them, with so many transactions in flight.
    pub(crate) async fn run(&self, items: usize, in_flight: usize) -> Result<Rates, Failure> {
        let started = Instant::now();
        self.batches(items, in_flight, |first| self.create(first)).await?;
        let created = Instant::now();
        self.batches(items, in_flight, |first| self.delete(first)).await?;
        Ok(Rates::of(items, created - started, created.elapsed()))
    }

    async fn batches<F>(&self, items: usize, in_flight: usize, batch: impl Fn(usize) -> F) -> Result<(), Failure>
    where
        F: Future<Output = Result<(), Failure>>,
    {
        stream::iter((0..items).step_by(BATCH).map(batch))
            .buffer_unordered(in_flight)
            .try_collect()
            .await
    }

    async fn create(&self, first: usize) -> Result<(), Failure> {
        let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
        let mut writer = self.client.new_multi_writer();
        for number in first..first + BATCH {
            writer.add_create(&self.path(number), &PAYLOAD, &options)?;
        }
        writer.commit().await?;
        Ok(())
    }

    async fn delete(&self, first: usize) -> Result<(), Failure> {
        let mut writer = self.client.new_multi_writer();
        for number in first..first + BATCH {
            writer.add_delete(&self.path(number), None)?;
        }
        writer.commit().await?;
        Ok(())
    }

    fn path(&self, number: usize) -> String {
        format!("{}/{number:010}", self.dir)
    }
}
