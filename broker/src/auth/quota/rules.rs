//! Which quota counts for a client: Kafka's eight levels, for each key on its own.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use crate::catalog::quota::{EntityType, QuotaEntity, QuotaKey, QuotaValues};

/// Whose allowance it is: all of a user's client ids share a user's quota, and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Owner<'a> {
    UserClient(&'a str, &'a str),
    User(&'a str),
    Client(&'a str),
    Address(IpAddr),
}

/// Names by value, `None` for the default of a type.
type ByName<T> = HashMap<Option<String>, T>;

/// The catalog's quotas, arranged for look-ups. Immutable.
#[derive(Debug, Default)]
pub(super) struct Rules {
    user_client: ByName<ByName<QuotaValues>>,
    user: ByName<QuotaValues>,
    client: ByName<QuotaValues>,
    address: HashMap<IpAddr, f64>,
    any_address: Option<f64>,
    /// One bit for each key that is set for anybody.
    keys: u8,
}

impl Rules {
    pub(super) fn new(quotas: &BTreeMap<QuotaEntity, QuotaValues>) -> Self {
        let mut rules = Self::default();
        for (QuotaEntity(entity), values) in quotas {
            rules.keys |= values.keys().fold(0, |bits, key| bits | bit(*key));
            let (user, client) = (entity.get(&EntityType::User), entity.get(&EntityType::ClientId));
            match (user, client, entity.get(&EntityType::Ip)) {
                (Some(user), Some(client), _) => {
                    rules.user_client.entry(user.clone()).or_default().insert(client.clone(), values.clone());
                }
                (Some(user), None, _) => drop(rules.user.insert(user.clone(), values.clone())),
                (None, Some(client), _) => drop(rules.client.insert(client.clone(), values.clone())),
                (None, None, address) => {
                    let rate = values.get(&QuotaKey::ConnectionCreationRate).map(|rate| rate.0);
                    match address {
                        Some(Some(address)) => {
                            let parsed = address.parse::<IpAddr>().ok().zip(rate);
                            rules.address.extend(parsed.map(|(address, rate)| (address.to_canonical(), rate)));
                        }
                        _ => rules.any_address = rate,
                    }
                }
            }
        }
        rules
    }

    pub(super) fn keys(&self) -> u8 {
        self.keys
    }

    /// The rate that counts, and whose allowance it is. The most specific level that sets the key wins.
    pub(super) fn find<'a>(&self, key: QuotaKey, user: &'a str, client: &'a str) -> Option<(Owner<'a>, f64)> {
        let (named_user, named_client) = (Some(user.to_owned()), Some(client.to_owned()));
        let value = |values: Option<&QuotaValues>| values.and_then(|values| values.get(&key)).map(|rate| rate.0);
        for user_level in [&named_user, &None] {
            if let Some(clients) = self.user_client.get(user_level) {
                let rate = value(clients.get(&named_client)).or_else(|| value(clients.get(&None)));
                if let Some(rate) = rate {
                    return Some((Owner::UserClient(user, client), rate));
                }
            }
            if let Some(rate) = value(self.user.get(user_level)) {
                return Some((Owner::User(user), rate));
            }
        }
        let rate = value(self.client.get(&named_client)).or_else(|| value(self.client.get(&None)));
        rate.map(|rate| (Owner::Client(client), rate))
    }

    pub(super) fn connections(&self, address: IpAddr) -> Option<f64> {
        self.address.get(&address).copied().or(self.any_address)
    }
}

pub(super) fn bit(key: QuotaKey) -> u8 {
    1 << key as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::quota::QuotaValue;

    const KEY: QuotaKey = QuotaKey::ProducerByteRate;

    /// Absent, the default, or a name.
    type Part = Option<Option<&'static str>>;

    /// Entities from the most to the least specific, as Kafka's documentation lists them.
    const LEVELS: [(Part, Part); 8] = [
        (Some(Some("alice")), Some(Some("app"))),
        (Some(Some("alice")), Some(None)),
        (Some(Some("alice")), None),
        (Some(None), Some(Some("app"))),
        (Some(None), Some(None)),
        (Some(None), None),
        (None, Some(Some("app"))),
        (None, Some(None)),
    ];

    fn entity(level: usize) -> QuotaEntity {
        let (user, client) = LEVELS[level];
        let named = |kind, name: Part| name.map(|name| (kind, name.map(str::to_owned)));
        QuotaEntity(named(EntityType::User, user).into_iter().chain(named(EntityType::ClientId, client)).collect())
    }

    #[test]
    fn the_most_specific_of_the_eight_levels_wins() {
        for first in 0..8 {
            let quotas = (first..8).map(|at| (entity(at), [(KEY, QuotaValue(at as f64 + 1.0))].into())).collect();
            let (owner, rate) = Rules::new(&quotas).find(KEY, "alice", "app").expect("some level fits");
            assert_eq!(rate, first as f64 + 1.0);
            let expected = match first {
                0 | 1 | 3 | 4 => Owner::UserClient("alice", "app"),
                2 | 5 => Owner::User("alice"),
                _ => Owner::Client("app"),
            };
            assert_eq!(owner, expected, "level {first}");
        }
    }

    #[test]
    fn others_are_not_concerned_and_each_key_is_looked_up_on_its_own() {
        let quotas: BTreeMap<_, QuotaValues> = [
            (entity(0), [(QuotaKey::ConsumerByteRate, QuotaValue(5.0))].into()),
            (entity(7), [(KEY, QuotaValue(7.0))].into()),
        ]
        .into();
        let rules = Rules::new(&quotas);
        assert_eq!(rules.find(KEY, "alice", "app"), Some((Owner::Client("app"), 7.0)));
        assert_eq!(rules.find(QuotaKey::ConsumerByteRate, "alice", "app").map(|found| found.1), Some(5.0));
        assert_eq!(rules.find(QuotaKey::ConsumerByteRate, "bob", "app"), None);
        assert_eq!(rules.find(QuotaKey::ConsumerByteRate, "alice", "other"), None);
        assert_eq!(rules.keys(), bit(KEY) | bit(QuotaKey::ConsumerByteRate));
    }

    #[test]
    fn an_address_wins_over_the_default() {
        let ip = |name: Option<&str>, rate| {
            let entity = QuotaEntity([(EntityType::Ip, name.map(str::to_owned))].into());
            (entity, [(QuotaKey::ConnectionCreationRate, QuotaValue(rate))].into())
        };
        let rules = Rules::new(&[ip(Some("10.0.0.1"), 5.0), ip(None, 9.0)].into());
        assert_eq!(rules.connections([10, 0, 0, 1].into()), Some(5.0));
        assert_eq!(rules.connections([10, 0, 0, 2].into()), Some(9.0));
        assert_eq!(Rules::new(&BTreeMap::new()).connections([10, 0, 0, 1].into()), None);
    }
}
