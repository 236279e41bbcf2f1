//! What a healthy cluster looks like.

use std::collections::BTreeSet;

use super::world::World;

impl World {
    /// Why the cluster is not as it should be once nothing is wrong any more; `None` when it is.
    pub(super) fn unhealthy(&mut self) -> Option<String> {
        let reigning: Vec<(usize, u64)> =
            self.hosts.iter().filter_map(|host| Some((host.index, host.node.as_ref()?.reigning()?))).collect();
        let newest = self.bucket.controllers.keys().next_back().copied();
        let [(controller, epoch)] = reigning[..] else { return Some(format!("controllers: {reigning:?}")) };
        if Some(epoch) != newest {
            return Some(format!("host {controller} reigns in {epoch}, the newest object is {newest:?}"));
        }
        self.unregistered(controller).or_else(|| self.unowned(controller))
    }

    fn unregistered(&self, controller: usize) -> Option<String> {
        let view = self.hosts[controller].node.as_ref()?.view().clone();
        let mut ids = BTreeSet::new();
        for host in &self.hosts {
            let Some(node) = &host.node else { continue };
            let now = host.now(self.time);
            let Some(id) = node.id().filter(|_| node.has_lease(now)) else {
                return Some(format!("host {} is not registered, or has no lease", host.index));
            };
            if !ids.insert(id) || view.brokers.get(&id).is_none_or(|broker| broker.address != host.address) {
                return Some(format!("id {id} of host {} is not its own: {view:?}", host.index));
            }
            if node.view() != &view {
                return Some(format!("host {} sees another cluster", host.index));
            }
        }
        (ids.len() != view.brokers.len()).then(|| "brokers are registered that are not there".to_owned())
    }

    fn unowned(&mut self, controller: usize) -> Option<String> {
        let view = self.hosts[controller].node.as_ref()?.view().clone();
        for shard in 0..=self.data_shards {
            let time = self.time;
            let stored = self.bucket.shard(shard).epoch;
            let owners: Vec<(usize, u64)> = self
                .hosts
                .iter_mut()
                .filter_map(|host| {
                    let now = host.now(time);
                    host.node.as_ref().filter(|node| node.may_read(shard, now))?;
                    let index = host.index;
                    host.served(shard).map(|handle| (index, handle.epoch))
                })
                .collect();
            let [(owner, epoch)] = owners[..] else { return Some(format!("shard {shard} is served by {owners:?}")) };
            let shown = view.shards.get(&shard).is_some_and(|shown| {
                shown.epoch == epoch
                    && view.brokers.get(&shown.owner).is_some_and(|broker| broker.address == self.hosts[owner].address)
            });
            if epoch != stored || (shard != 0 && !shown) {
                return Some(format!(
                    "shard {shard}: host {owner} in {epoch}, stored {stored}, shown {:?}",
                    view.shards.get(&shard)
                ));
            }
        }
        None
    }
}
