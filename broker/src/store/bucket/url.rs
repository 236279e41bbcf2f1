//! The cluster URL: `s3://bucket/prefix[?region=…&endpoint=…]`, `az://account/container/prefix[?endpoint=…]`,
//! `gs://bucket/prefix[?endpoint=…]` or `file:///path`.
//!
//! Credentials are what object_store itself finds: the environment, workload identity, the instance's identity.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{BackoffConfig, ObjectStore, RetryConfig};
use thiserror::Error;
use url::Url;

use super::http::{Connector, client};

const S3_REGION_HEADER: &str = "x-amz-bucket-region";
const DEFAULT_REGION: &str = "us-east-1";

/// What is wrong with a cluster URL, or why its store cannot be used: one sentence that says where and what to do.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{url}: {reason}")]
pub struct UrlError {
    pub url: String,
    pub reason: String,
}

/// A folder of an object store.
#[derive(Clone, Debug)]
pub struct Bucket {
    pub store: Arc<dyn ObjectStore>,
    /// Everything of the cluster lies below.
    pub prefix: Path,
    /// As the user wrote it; holds nothing secret.
    pub url: String,
    /// A directory on this machine: it can create an object only if absent, but not replace one only if unchanged.
    pub local: bool,
}

impl Bucket {
    /// The path of something below the prefix; `below` has its parts between slashes.
    pub fn path(&self, below: &str) -> Path {
        below.split('/').fold(self.prefix.clone(), |path, part| path.join(part))
    }
}

/// A cluster URL that makes sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterUrl {
    text: String,
    place: Place,
    prefix: Path,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    S3 { bucket: String, region: Option<String>, endpoint: Option<String> },
    Azure { account: String, container: String, endpoint: Option<String> },
    Google { bucket: String, endpoint: Option<String> },
    File { path: PathBuf },
}

impl FromStr for ClusterUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let (place, prefix) =
            parse(text).map_err(|reason| UrlError { url: without_secrets(text), reason: reason.to_owned() })?;
        Ok(Self { text: text.to_owned(), place, prefix })
    }
}

/// A URL that is refused for its password must not show it in a log.
fn without_secrets(text: &str) -> String {
    match text.split_once("://") {
        Some((scheme, rest)) => match rest.split_once('@') {
            Some((_, rest)) => format!("{scheme}://…@{rest}"),
            None => text.to_owned(),
        },
        None => text.to_owned(),
    }
}

fn parse(text: &str) -> Result<(Place, Path), &'static str> {
    const SCHEMES: &str =
        "a cluster URL begins with s3://, az://, gs:// or file://; write for instance s3://bucket/prefix";
    let url = Url::parse(text).map_err(|_| SCHEMES)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "credentials do not belong in the URL; put them into the environment, or give the machine an identity",
        );
    }
    if url.port().is_some() || url.fragment().is_some() {
        return Err("a cluster URL has neither port nor #; name another address with ?endpoint=https://…");
    }
    let options = Options::of(&url)?;
    let host = url.host_str().unwrap_or_default().to_owned();
    let path = url.path().trim_matches('/');
    match url.scheme() {
        "s3" if host.is_empty() => Err("the bucket is missing; write s3://bucket/prefix"),
        "s3" => Ok((Place::S3 { bucket: host, region: options.region, endpoint: options.endpoint }, prefix_of(path)?)),
        _ if options.region.is_some() => Err("only s3:// has a region; leave it out"),
        "gs" if host.is_empty() => Err("the bucket is missing; write gs://bucket/prefix"),
        "gs" => Ok((Place::Google { bucket: host, endpoint: options.endpoint }, prefix_of(path)?)),
        "az" => {
            let (container, prefix) = path.split_once('/').unwrap_or((path, ""));
            if host.is_empty() || container.is_empty() {
                return Err("the account or the container is missing; write az://account/container/prefix");
            }
            let place = Place::Azure { account: host, container: container.to_owned(), endpoint: options.endpoint };
            Ok((place, prefix_of(prefix)?))
        }
        "file" if options.endpoint.is_some() => Err("file:// has no endpoint; leave it out"),
        "file" if host.is_empty() && !path.is_empty() => {
            let path = url.to_file_path().map_err(|()| "this is no absolute path; write file:///path")?;
            Ok((Place::File { path }, Path::default()))
        }
        "file" => Err("the path is missing or begins with a host name; write file:///path with three slashes"),
        _ => Err(SCHEMES),
    }
}

fn prefix_of(path: &str) -> Result<Path, &'static str> {
    Path::from_url_path(path).map_err(|_| "the prefix has an empty part, or one that is . or ..; write it without")
}

#[derive(Default)]
struct Options {
    region: Option<String>,
    endpoint: Option<String>,
}

impl Options {
    fn of(url: &Url) -> Result<Self, &'static str> {
        let mut options = Self::default();
        for (key, value) in url.query_pairs() {
            let place = match &*key {
                "region" => &mut options.region,
                "endpoint" => &mut options.endpoint,
                _ => return Err("after the ? only region and endpoint are known"),
            };
            if value.is_empty() || place.replace(value.into_owned()).is_some() {
                return Err("an option after the ? is empty or there twice");
            }
        }
        if let Some(endpoint) = &options.endpoint {
            let wrong = "the endpoint is no http:// or https:// address without user name, query and #";
            let endpoint = Url::parse(endpoint).map_err(|_| wrong)?;
            let plain = endpoint.username().is_empty() && endpoint.password().is_none();
            let bare = endpoint.query().is_none() && endpoint.fragment().is_none() && endpoint.has_host();
            if !matches!(endpoint.scheme(), "http" | "https") || !plain || !bare {
                return Err(wrong);
            }
        }
        Ok(options)
    }
}

impl ClusterUrl {
    /// Prepares the store. Asks for nothing but, where neither URL nor environment tell, the region of an S3 bucket.
    pub async fn open(&self) -> Result<Bucket, UrlError> {
        let store: Result<Arc<dyn ObjectStore>, String> = match &self.place {
            Place::S3 { bucket, region, endpoint } => s3(bucket, region.as_deref(), endpoint.as_deref()).await,
            Place::Azure { account, container, endpoint } => azure(account, container, endpoint.as_deref()),
            Place::Google { bucket, endpoint } => google(bucket, endpoint.as_deref()),
            Place::File { path } => directory(path),
        };
        let store = store.map_err(|reason| UrlError { url: self.text.clone(), reason })?;
        let local = matches!(self.place, Place::File { .. });
        Ok(Bucket { store, prefix: self.prefix.clone(), url: self.text.clone(), local })
    }
}

/// Bounds how long one request is tried before its error shows. The layers above try again, and know when to give up.
fn retry() -> RetryConfig {
    let backoff =
        BackoffConfig { init_backoff: Duration::from_millis(100), max_backoff: Duration::from_secs(2), base: 2.0 };
    RetryConfig { backoff, max_retries: 4, retry_timeout: Duration::from_secs(20) }
}

fn is_plain(endpoint: &str) -> bool {
    endpoint.starts_with("http://")
}

/// The innermost reason: the outer ones only name the store.
fn unusable(error: object_store::Error) -> String {
    let mut reason: &dyn std::error::Error = &error;
    while let Some(cause) = reason.source() {
        reason = cause;
    }
    format!("the store cannot be set up: {reason}")
}

async fn s3(bucket: &str, region: Option<&str>, endpoint: Option<&str>) -> Result<Arc<dyn ObjectStore>, String> {
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(bucket)
        .with_http_connector(Connector)
        .with_retry(retry())
        // Directory buckets of S3 Express One Zone have names of this form.
        .with_s3_express(bucket.ends_with("--x-s3"));
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint).with_allow_http(is_plain(endpoint));
    }
    let known = region.map(str::to_owned).or_else(|| builder.get_config_value(&AmazonS3ConfigKey::Region));
    let elsewhere = builder.get_config_value(&AmazonS3ConfigKey::Endpoint).is_some();
    let region = match known {
        Some(region) => region,
        None if elsewhere => DEFAULT_REGION.to_owned(),
        None => region_of(bucket).await?,
    };
    Ok(Arc::new(builder.with_region(region).build().map_err(unusable)?))
}

/// Asks S3 where the bucket is; it answers without credentials.
async fn region_of(bucket: &str) -> Result<String, String> {
    const HINT: &str = "name it with ?region=… or AWS_REGION";
    // The certificate of S3 covers one more name before the domain, so one without dots.
    let address = match bucket.contains('.') {
        true => format!("https://s3.amazonaws.com/{bucket}"),
        false => format!("https://{bucket}.s3.amazonaws.com"),
    };
    let asked = client(Duration::from_secs(3))?.head(address).send().await;
    let answer = asked
        .map_err(|error| format!("the region of the bucket cannot be asked for ({}); {HINT}", error.without_url()))?;
    if answer.status() == reqwest::StatusCode::NOT_FOUND {
        return Err("there is no such bucket; make it, or correct its name".to_owned());
    }
    let region = answer.headers().get(S3_REGION_HEADER).and_then(|region| region.to_str().ok());
    region.map(str::to_owned).ok_or_else(|| format!("S3 does not tell the region of the bucket; {HINT}"))
}

fn azure(account: &str, container: &str, endpoint: Option<&str>) -> Result<Arc<dyn ObjectStore>, String> {
    let mut builder = MicrosoftAzureBuilder::from_env()
        .with_account(account)
        .with_container_name(container)
        .with_http_connector(Connector)
        .with_retry(retry());
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint.to_owned()).with_allow_http(is_plain(endpoint));
    }
    Ok(Arc::new(builder.build().map_err(unusable)?))
}

fn google(bucket: &str, endpoint: Option<&str>) -> Result<Arc<dyn ObjectStore>, String> {
    let mut builder = GoogleCloudStorageBuilder::from_env()
        .with_bucket_name(bucket)
        .with_http_connector(Connector)
        .with_retry(retry());
    if let Some(endpoint) = endpoint {
        builder = builder.with_base_url(endpoint);
    }
    Ok(Arc::new(builder.build().map_err(unusable)?))
}

fn directory(path: &std::path::Path) -> Result<Arc<dyn ObjectStore>, String> {
    std::fs::create_dir_all(path).map_err(|error| format!("the directory cannot be made: {error}"))?;
    Ok(Arc::new(LocalFileSystem::new_with_prefix(path).map_err(unusable)?.with_fsync(true)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (Place, String) {
        let url: ClusterUrl = text.parse().unwrap_or_else(|error| panic!("{error}"));
        (url.place, url.prefix.to_string())
    }

    #[test]
    fn every_kind_of_url() {
        let s3 = |region: Option<&str>, endpoint: Option<&str>| Place::S3 {
            bucket: "logs".into(),
            region: region.map(Into::into),
            endpoint: endpoint.map(Into::into),
        };
        assert_eq!(parsed("s3://logs/a/b"), (s3(None, None), "a/b".into()));
        assert_eq!(parsed("s3://logs"), (s3(None, None), String::new()));
        assert_eq!(parsed("s3://logs/a/?region=eu-west-1"), (s3(Some("eu-west-1"), None), "a".into()));
        let endpoint = "http://127.0.0.1:8333";
        assert_eq!(parsed(&format!("s3://logs/a?endpoint={endpoint}")), (s3(None, Some(endpoint)), "a".into()));
        let google = Place::Google { bucket: "logs".into(), endpoint: None };
        assert_eq!(parsed("gs://logs/a"), (google, "a".into()));
        let azure = Place::Azure { account: "acc".into(), container: "box".into(), endpoint: None };
        assert_eq!(parsed("az://acc/box/a/b"), (azure.clone(), "a/b".into()));
        assert_eq!(parsed("az://acc/box"), (azure, String::new()));
        let file = Place::File { path: "/var/lib/x".into() };
        assert_eq!(parsed("file:///var/lib/x"), (file, String::new()));
    }

    #[test]
    fn what_is_wrong_is_said_in_one_sentence() {
        for (text, says) in [
            ("logs", "begins with s3://"),
            ("http://logs/a", "begins with s3://"),
            ("s3:///a", "bucket is missing"),
            ("gs:///a", "bucket is missing"),
            ("az://acc", "container is missing"),
            ("file://host/a", "three slashes"),
            ("file:///", "three slashes"),
            ("s3://logs/a?zone=1", "only region and endpoint"),
            ("s3://logs/a?region=", "empty"),
            ("s3://logs/a?region=a&region=b", "twice"),
            ("gs://logs/a?region=x", "leave it out"),
            ("file:///a?endpoint=http://b", "leave it out"),
            ("s3://logs/a?endpoint=ftp://b", "no http://"),
            ("s3://logs/a?endpoint=https://u:p@b", "no http://"),
            ("s3://logs:80/a", "neither port"),
            ("s3://logs/a#b", "neither port"),
            ("s3://logs/a//b", "empty part"),
        ] {
            let error = text.parse::<ClusterUrl>().expect_err(text).to_string();
            assert!(error.contains(says) && error.starts_with(&without_secrets(text)), "{text}: {error}");
        }
    }

    #[test]
    fn a_password_is_refused_and_not_repeated() {
        let error = "s3://key:secret@logs/a".parse::<ClusterUrl>().expect_err("refused").to_string();
        assert!(error.contains("environment") && !error.contains("secret"), "{error}");
    }

    #[tokio::test]
    async fn a_directory_is_made_and_used() {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("file://{}/a/b", folder.path().display());
        let bucket = url.parse::<ClusterUrl>().expect("parsed").open().await.expect("opened");
        assert!(bucket.local && folder.path().join("a/b").is_dir());
        let path = bucket.path("shards/3");
        assert_eq!(path.to_string(), "shards/3");
        use object_store::ObjectStoreExt;
        bucket.store.put(&path, "x".into()).await.expect("written");
        assert!(folder.path().join("a/b/shards/3").is_file());
    }

    #[tokio::test]
    async fn a_store_of_every_cloud_can_be_made() {
        for text in ["s3://b/p?region=eu-west-1", "az://acc/box/p", "gs://b/p", "s3://b/p?endpoint=http://[::1]:1"] {
            let url = text.parse::<ClusterUrl>().expect("parsed");
            let opened = url.open().await;
            assert!(opened.is_ok_and(|bucket| bucket.prefix.to_string() == "p" && !bucket.local), "{text}");
        }
    }
}
