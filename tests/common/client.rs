//! A client of the JSON API, as simple as curl.
#![allow(dead_code, reason = "each test file uses some of it")]

use crate::served::Served;
use serde_json::Value;
use ureq::http::Response;
use ureq::{Agent, Body};

/// Where the default collection is searched.
pub const SEARCH: &str = "/v1/collections/default/search";

/// What came back.
pub struct Came {
    pub status: u16,
    pub headers: ureq::http::HeaderMap,
    pub body: Vec<u8>,
}

impl Came {
    pub fn of(mut response: Response<Body>) -> Self {
        let body = response.body_mut().with_config().limit(1 << 30).read_to_vec().unwrap();
        Came { status: response.status().as_u16(), headers: response.headers().clone(), body }
    }

    /// The JSON of an answer with that status.
    pub fn json(&self, status: u16) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{text}");
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
    }

    /// The message of a failure with that status and code.
    pub fn failure(&self, status: u16, code: &str) -> String {
        let error = self.json(status)["error"].clone();
        assert_eq!(error["code"], code, "{error}");
        error["message"].as_str().unwrap().to_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }
}

/// A client of one server, with headers that it always sends.
pub struct Client {
    agent: Agent,
    base: String,
    headers: Vec<(&'static str, String)>,
}

impl Client {
    pub fn new(served: &Served) -> Self {
        let agent = Agent::config_builder().http_status_as_error(false).build().new_agent();
        Client { agent, base: served.http.clone(), headers: vec![] }
    }

    pub fn with(&self, name: &'static str, value: impl Into<String>) -> Self {
        let mut headers = self.headers.clone();
        headers.push((name, value.into()));
        Client { agent: self.agent.clone(), base: self.base.clone(), headers }
    }

    pub fn send(&self, method: &str, path: &str, body: Option<(&str, Vec<u8>)>) -> Came {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        Came::of(match body {
            Some((kind, bytes)) => {
                self.agent.run(request.header("content-type", kind).body(bytes).unwrap()).unwrap()
            }
            None => self.agent.run(request.body(()).unwrap()).unwrap(),
        })
    }

    pub fn get(&self, path: &str) -> Came {
        self.send("GET", path, None)
    }

    pub fn delete(&self, path: &str) -> Came {
        self.send("DELETE", path, None)
    }

    pub fn post(&self, path: &str, body: &Value) -> Came {
        self.send("POST", path, Some(("application/json", body.to_string().into_bytes())))
    }
}
