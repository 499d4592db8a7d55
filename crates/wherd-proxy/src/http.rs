//! HTTP as providers are asked by it: one request, one bounded body, nothing followed and nothing
//! inflated.

use crate::failure::{Failure, Kind};
use crate::key::Key;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use std::error::Error as _;
use std::pin::Pin;
use std::sync::OnceLock;
use std::time::Duration;

/// What is escaped in a query: all but RFC 3986's unreserved characters.
pub(crate) const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The longest body that is read, in bytes.
pub const MAX_BODY_LEN: usize = 1 << 20;

/// A request to a provider, without its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Where, with the query but for the key.
    pub url: String,
    /// Where the key goes.
    pub key: KeyPlace,
    /// Headers beside the key.
    pub headers: Vec<(&'static str, String)>,
    /// What is posted, and what type it is of; `None`: a GET.
    pub body: Option<(&'static str, Vec<u8>)>,
}

/// Where a key goes in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPlace {
    /// Into a header of this name.
    Header(&'static str),
    /// Into the query, under this name.
    Query(&'static str),
    /// The provider wants none.
    Nowhere,
}

/// What a provider answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// 200 and the others.
    pub status: u16,
    /// Whether it says that it is JSON.
    pub is_json: bool,
    /// What `Retry-After` says, where that is a number of seconds.
    pub retry_after: Option<Duration>,
    /// All of it.
    pub body: Vec<u8>,
}

/// A future that a trait object gives.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Result<Response, Failure>> + Send + 'a>>;

/// Who sends a request and brings its answer.
pub trait Transport: Send + Sync {
    /// Sends a request with its key. Has no time limit of its own but for connecting.
    ///
    /// # Errors
    /// There is no answer, or none that is read.
    fn send<'a>(&'a self, request: &'a Request, key: Option<&'a Key>) -> Sending<'a>;
}

/// The web.
#[derive(Debug, Default)]
pub struct Web {
    /// Built by the first request: reading the authorities takes milliseconds that no herd without
    /// providers should spend.
    client: OnceLock<Built>,
    /// For addresses of this machine, which no proxy of the environment's should be asked for.
    direct: OnceLock<Built>,
    connect_timeout: Duration,
}

type Built = Result<reqwest::Client, String>;

impl Web {
    /// A client that gives a connection so much time.
    #[must_use]
    pub fn new(connect_timeout: Duration) -> Self {
        Self {
            connect_timeout,
            ..Self::default()
        }
    }

    fn client(&self, url: &str) -> Result<&reqwest::Client, Failure> {
        let is_here = is_of_this_machine(url);
        let client = if is_here { &self.direct } else { &self.client };
        let client = client.get_or_init(|| {
            let client = build(self.connect_timeout, is_here);
            client.map_err(|error| chain(&error))
        });
        client
            .as_ref()
            .map_err(|error| Failure::new(Kind::Connect, format!("no HTTP client: {error}")))
    }

    async fn exchange(&self, request: &Request, key: Option<&Key>) -> Result<Response, Failure> {
        let client = self.client(&request.url)?;
        let url = url_with_key(request, key);
        let mut builder = match &request.body {
            None => client.get(url),
            Some((kind, body)) => client
                .post(url)
                .header(CONTENT_TYPE, *kind)
                .body(body.clone()),
        };
        for (name, value) in &request.headers {
            builder = builder.header(*name, value);
        }
        if let (KeyPlace::Header(name), Some(key)) = (request.key, key) {
            let mut value = HeaderValue::from_str(key.expose())
                .map_err(|_| Failure::new(Kind::NoKey, "the key cannot be sent"))?;
            value.set_sensitive(true);
            builder = builder.header(name, value);
        }
        let mut response = builder.send().await.map_err(failure)?;
        check_headers(response.status().as_u16(), response.headers())?;
        let (status, is_json) = (response.status().as_u16(), is_json(response.headers()));
        let retry_after = retry_after(response.headers());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failure)? {
            if body.len() + chunk.len() > MAX_BODY_LEN {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Response {
            status,
            is_json,
            retry_after,
            body,
        })
    }
}

impl Transport for Web {
    fn send<'a>(&'a self, request: &'a Request, key: Option<&'a Key>) -> Sending<'a> {
        Box::pin(self.exchange(request, key))
    }
}

/// Whether a URL is of a loopback address.
fn is_of_this_machine(url: &str) -> bool {
    let host = reqwest::Url::parse(url).ok();
    let host = host
        .as_ref()
        .and_then(reqwest::Url::host_str)
        .unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn build(connect_timeout: Duration, is_direct: bool) -> reqwest::Result<reqwest::Client> {
    let provider = rustls::crypto::ring::default_provider();
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    let tls = rustls::ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .expect("the provider knows what it is safe with")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut builder = reqwest::Client::builder();
    if is_direct {
        builder = builder.no_proxy();
    }
    builder
        .tls_backend_preconfigured(tls)
        .connect_timeout(connect_timeout)
        .redirect(Policy::none())
        .referer(false)
        .user_agent(concat!("wherd/", env!("CARGO_PKG_VERSION")))
        .build()
}

fn url_with_key(request: &Request, key: Option<&Key>) -> String {
    match (request.key, key) {
        (KeyPlace::Query(name), Some(key)) => {
            let separator = if request.url.contains('?') { '&' } else { '?' };
            let key = utf8_percent_encode(key.expose(), RESERVED);
            format!("{}{separator}{name}={key}", request.url)
        }
        _ => request.url.clone(),
    }
}

/// What is wrong with an answer before its body is read.
fn check_headers(status: u16, headers: &HeaderMap) -> Result<(), Failure> {
    if (300..400).contains(&status) {
        let message =
            format!("it sends us elsewhere (HTTP {status}), where nobody goes with a key");
        return Err(Failure::new(Kind::Redirect, message));
    }
    // Nobody asked for it, and a megabyte may inflate to a gigabyte.
    let encoding = headers.get(CONTENT_ENCODING);
    if let Some(encoding) = encoding.filter(|encoding| *encoding != "identity") {
        let message = format!("its answer is compressed ({encoding:?}), which was not asked for");
        return Err(Failure::new(Kind::Garbage, message));
    }
    let length = headers.get(reqwest::header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > MAX_BODY_LEN as u64) {
        return Err(too_large());
    }
    Ok(())
}

fn too_large() -> Failure {
    let message = format!("its answer is longer than {MAX_BODY_LEN} bytes");
    Failure::new(Kind::TooLarge, message)
}

/// `application/json`, `text/json` or something `+json`.
fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let kind = kind
        .and_then(|kind| kind.split(';').next())
        .unwrap_or_default();
    let kind = kind.trim().to_ascii_lowercase();
    kind.ends_with("/json") || kind.ends_with("+json")
}

/// Where it is a date it says nothing that helps within a deadline of seconds.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds))
}

/// An error of the client, without the URL, which may have the key.
fn failure(error: reqwest::Error) -> Failure {
    let error = error.without_url();
    let kind = if error.is_timeout() {
        Kind::Timeout
    } else if error.is_connect() || error.is_request() {
        Kind::Connect
    } else {
        // It began to answer, and did not end.
        Kind::Garbage
    };
    Failure::new(kind, chain(&error))
}

/// An error with its causes, each of which says more than the one before.
fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_of_this_machine() {
        for url in [
            "http://127.0.0.1:8080/x",
            "https://[::1]/",
            "http://localhost:1",
            "http://127.9.9.9",
        ] {
            assert!(is_of_this_machine(url), "{url}");
        }
        for url in [
            "https://places.googleapis.com/v1",
            "http://10.0.0.1",
            "http://127.0.0.1.example.org",
            "x",
            "",
        ] {
            assert!(!is_of_this_machine(url), "{url}");
        }
    }

    #[test]
    fn a_key_in_a_query_is_escaped() {
        let request = Request {
            url: "https://a/b?c=d".to_owned(),
            key: KeyPlace::Query("key"),
            headers: Vec::new(),
            body: None,
        };
        let key = Key::new("a&b=c%").expect("a key");
        assert_eq!(
            url_with_key(&request, Some(&key)),
            "https://a/b?c=d&key=a%26b%3Dc%25"
        );
    }
}
