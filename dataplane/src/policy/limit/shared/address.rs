//! Where the store is: `--redis URL`.

use std::{fmt, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisResult, TlsCertificates,
    TlsMode,
    aio::MultiplexedConnection,
    cluster::ClusterClient,
    cluster_async::ClusterConnection,
    sentinel::{SentinelClientBuilder, SentinelServerType},
};

/// A store, with all that is needed to reach it. It shows no credential.
#[derive(Clone)]
pub struct Address {
    kind: Kind,
    tls: bool,
    /// PEM; `None`: the authorities of the system.
    authorities: Option<Vec<u8>>,
    /// Hosts, for people.
    shown: String,
}

#[derive(Clone)]
enum Kind {
    Single(Box<ConnectionInfo>),
    Cluster(Vec<ConnectionInfo>),
    Sentinel { sentinels: Vec<ConnectionInfo>, master: String, database: i64 },
}

/// Why a URL is none of a store. It says nothing of what is in the URL, for there may be a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error(
        "it begins with none of redis://, rediss://, redis-cluster://, rediss-cluster://, redis-sentinel://, rediss-sentinel://"
    )]
    Scheme,
    #[error("its host, port, user, password or database cannot be read (percent-encode what is special in a password)")]
    Parts,
    #[error("a cluster has one database, 0")]
    Database,
    #[error("it names no master: redis-sentinel://HOST:PORT,.../MASTER")]
    Master,
    #[error("it has a query or a fragment, which say nothing here; certificates are always checked")]
    More,
}

/// An open connection.
#[derive(Clone)]
pub(super) enum Lane {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// Connections of a replica to one store: enough that a large answer holds up few.
const LANES: usize = 2;

impl Address {
    /// `redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]`, `redis-cluster://[USER:PASSWORD@]HOST[:PORT],...`,
    /// `redis-sentinel://[USER:PASSWORD@]HOST[:PORT],.../MASTER[/DATABASE]`, each with `rediss` for TLS. `authorities` are PEM.
    pub fn parse(url: &str, authorities: Option<Vec<u8>>) -> Result<Self, AddressError> {
        let (scheme, rest) = url.split_once("://").ok_or(AddressError::Scheme)?;
        let (tls, kind) = match scheme {
            "redis" => (false, ""),
            "rediss" => (true, ""),
            "redis-cluster" => (false, "cluster"),
            "rediss-cluster" => (true, "cluster"),
            "redis-sentinel" => (false, "sentinel"),
            "rediss-sentinel" => (true, "sentinel"),
            _ => return Err(AddressError::Scheme),
        };
        if rest.contains(['?', '#']) {
            return Err(AddressError::More);
        }
        let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (credentials, hosts) = match place.rsplit_once('@') {
            Some((credentials, hosts)) => (format!("{credentials}@"), hosts),
            None => (String::new(), place),
        };
        let scheme = if tls { "rediss" } else { "redis" };
        let nodes = |path: &str| {
            let node = |host: &str| {
                let info = format!("{scheme}://{credentials}{host}/{path}").into_connection_info()?;
                // It says what the library is called, and is a right more that a user would need.
                let settings = info.redis_settings().clone().set_skip_set_lib_name();
                Ok(info.set_redis_settings(settings))
            };
            let nodes = hosts.split(',').map(node).collect::<RedisResult<Vec<_>>>();
            nodes.map_err(|_| AddressError::Parts)
        };
        let kind = match kind {
            "cluster" if !matches!(path, "" | "0") => return Err(AddressError::Database),
            "cluster" => Kind::Cluster(nodes("")?),
            "sentinel" => {
                let (master, database) = path.split_once('/').unwrap_or((path, "0"));
                let database = database.parse().map_err(|_| AddressError::Parts)?;
                if master.is_empty() {
                    return Err(AddressError::Master);
                }
                Kind::Sentinel { sentinels: nodes("")?, master: master.to_owned(), database }
            }
            _ if hosts.contains(',') => return Err(AddressError::Parts),
            _ => Kind::Single(Box::new(nodes(path)?.remove(0))),
        };
        Ok(Self { kind, tls, authorities, shown: hosts.to_owned() })
    }

    /// New connections. All have the same roots, and the time of `patience` each.
    pub(super) async fn connect(&self, patience: Duration) -> RedisResult<Vec<Lane>> {
        // Who asks watches the time himself.
        let config = AsyncConnectionConfig::new().set_connection_timeout(Some(patience)).set_response_timeout(None);
        let certificates = self.certificates();
        match &self.kind {
            Kind::Single(info) => {
                let client = match certificates {
                    Some(certificates) => Client::build_with_tls((**info).clone(), certificates)?,
                    None => Client::open((**info).clone())?,
                };
                let mut lanes = Vec::with_capacity(LANES);
                for _ in 0..LANES {
                    lanes.push(Lane::Single(client.get_multiplexed_async_connection_with_config(&config).await?));
                }
                Ok(lanes)
            }
            Kind::Cluster(nodes) => {
                let mut client = ClusterClient::builder(nodes.clone()).connection_timeout(patience);
                client = client.response_timeout(patience).retries(2);
                if let Some(certificates) = certificates {
                    client = client.certs(certificates);
                }
                Ok(vec![Lane::Cluster(client.build()?.get_async_connection().await?)])
            }
            Kind::Sentinel { sentinels, master, database } => {
                let mut client = self.sentinel(sentinels, master, *database, certificates)?.build()?;
                let mut lanes = Vec::with_capacity(LANES);
                for _ in 0..LANES {
                    lanes.push(Lane::Single(client.get_async_connection_with_config(&config).await?));
                }
                Ok(lanes)
            }
        }
    }

    /// User and password are the store's; sentinels are asked without.
    fn sentinel(
        &self,
        sentinels: &[ConnectionInfo],
        master: &str,
        database: i64,
        certificates: Option<TlsCertificates>,
    ) -> RedisResult<SentinelClientBuilder> {
        let addresses: Vec<ConnectionAddr> = sentinels.iter().map(|info| info.addr().clone()).collect();
        let mut client =
            SentinelClientBuilder::new(addresses, master, SentinelServerType::Master)?.set_client_to_redis_db(database);
        if let Some(info) = sentinels.first().map(ConnectionInfo::redis_settings) {
            if let Some(user) = info.username() {
                client = client.set_client_to_redis_username(user);
            }
            if let Some(password) = info.password() {
                client = client.set_client_to_redis_password(password);
            }
        }
        if self.tls {
            client = client.set_client_to_redis_tls_mode(TlsMode::Secure);
        }
        if let Some(certificates) = certificates {
            client = client.set_client_to_redis_certificates(certificates.clone());
            client = client.set_client_to_sentinel_certificates(certificates);
        }
        Ok(client)
    }

    fn certificates(&self) -> Option<TlsCertificates> {
        let root_cert = self.authorities.clone().filter(|_| self.tls)?;
        Some(TlsCertificates { client_tls: None, root_cert: Some(root_cert) })
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

/// Hosts alone.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Address, AddressError> {
        Address::parse(url, None)
    }

    #[test]
    fn urls_are_read_and_show_no_credential() {
        let address = parse("rediss://app:s%40cret@store.example:6380/3").unwrap();
        let Kind::Single(info) = &address.kind else { panic!("{address:?}") };
        assert_eq!((info.redis_settings().username(), info.redis_settings().password()), (Some("app"), Some("s@cret")));
        assert_eq!((info.redis_settings().db(), address.tls), (3, true));
        assert_eq!(format!("{address} {address:?}"), "store.example:6380 Address(store.example:6380)");
        let address = parse("redis-cluster://:secret@a:1,b:2,[::1]:3").unwrap();
        let Kind::Cluster(nodes) = &address.kind else { panic!("{address:?}") };
        assert!(nodes.iter().all(|node| node.redis_settings().password() == Some("secret")));
        assert_eq!((nodes.len(), &*address.shown), (3, "a:1,b:2,[::1]:3"));
        let address = parse("redis-sentinel://a:1,b/main/2").unwrap();
        let Kind::Sentinel { sentinels, master, database } = &address.kind else { panic!("{address:?}") };
        assert_eq!((sentinels.len(), &**master, *database), (2, "main", 2));
    }

    #[test]
    fn what_is_no_url_of_a_store_is_refused_without_a_word_of_it() {
        for (url, error) in [
            ("secret", AddressError::Scheme),
            ("http://a", AddressError::Scheme),
            ("redis://a:secret", AddressError::Parts),
            ("redis://a,b", AddressError::Parts),
            ("redis://a/secret", AddressError::Parts),
            ("redis-cluster://a/1", AddressError::Database),
            ("redis-sentinel://a", AddressError::Master),
            ("rediss://a#insecure", AddressError::More),
            ("redis://a?password=secret", AddressError::More),
        ] {
            let refused = parse(url).err().unwrap();
            assert_eq!(refused, error, "{url}");
            assert!(!refused.to_string().contains("secret"));
        }
    }
}
