//! Producer ids, handed out of blocks that the catalog records before the first id of a block is used. Never reused.

use std::ops::Range;

use tokio::sync::Mutex;

use crate::catalog::{Catalog, CatalogError, CatalogRecord, ChangeError};

/// Ids reserved by one catalog record (as many as Kafka's controller hands to a broker).
const BLOCK: i64 = 1000;

#[derive(Default)]
pub struct ProducerIds {
    block: Mutex<Range<i64>>,
}

impl ProducerIds {
    pub async fn next(&self, catalog: &Catalog) -> Result<i64, CatalogError> {
        let mut block = self.block.lock().await;
        if block.is_empty() {
            *block = reserve(catalog).await?;
        }
        let id = block.start;
        block.start += 1;
        Ok(id)
    }
}

async fn reserve(catalog: &Catalog) -> Result<Range<i64>, CatalogError> {
    let reserved = catalog
        .change(|image| {
            let start = image.next_producer_id;
            let next = start + BLOCK;
            Ok::<_, std::convert::Infallible>((vec![CatalogRecord::ProducerIds { next }], start..next))
        })
        .await;
    reserved.map_err(|error| match error {
        ChangeError::Catalog(error) => error,
        ChangeError::Refused(never) => match never {},
    })
}
