//! A server whose connections are this process: requests take the whole way of one that was read from a connection, to the
//! answer's last byte. Tests that send thousands use it.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request};
use bytes::Bytes;
use creta_model::Environment;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tower::Service as _;

use crate::at_once::Doors;
use crate::http::App;
use crate::{Credential, InitOptions, RunningServer, ServeOptions};

pub(crate) struct InProcess {
    running: Option<RunningServer>,
    pub(crate) app: Arc<App>,
    doors: RefCell<Doors>,
    runtime: Runtime,
    admin: Credential,
    _folder: TempDir,
}

/// A program's client id, its secret, and a token.
#[derive(Clone)]
pub(crate) struct Program {
    pub(crate) client_id: String,
    pub(crate) secret: String,
    pub(crate) token: String,
}

/// A request that was not sent yet.
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) token: Option<&'a str>,
    pub(crate) headers: &'a [(&'a str, &'a str)],
    pub(crate) body: String,
    pub(crate) from: IpAddr,
}

impl<'a> Asked<'a> {
    pub(crate) fn post(path: &'a str, token: Option<&'a str>, body: &Value) -> Self {
        Self { body: body.to_string(), ..Self::get(path, token) }.by("POST")
    }

    pub(crate) fn get(path: &'a str, token: Option<&'a str>) -> Self {
        let from = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Self { method: "GET", path, token, headers: &[], body: String::new(), from }
    }

    fn by(self, method: &'a str) -> Self {
        Self { method, ..self }
    }
}

/// A request as it is read from a connection.
pub(crate) struct Sent {
    request: Request<Body>,
    from: SocketAddr,
}

impl From<Asked<'_>> for Sent {
    fn from(asked: Asked<'_>) -> Self {
        let Asked { method, path, token, headers, body, from } = asked;
        let mut request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).expect("a method"))
            .uri(path)
            .header("host", "localhost")
            .header("content-length", body.len());
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Self { request: request.body(Body::from(body)).expect("a request"), from: SocketAddr::new(from, 40_000) }
    }
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) status: u16,
    pub(crate) repeated: bool,
    pub(crate) body: Bytes,
}

impl Told {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    pub(crate) fn ok(&self) -> Value {
        assert!((200..300).contains(&self.status), "{self:?}");
        self.json()
    }

    pub(crate) fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}");
        self.json()["code"].as_str().expect("a code").to_owned()
    }
}

impl InProcess {
    /// A server of class development. Its folder is in memory where the machine has one that is.
    pub(crate) fn new(environment: &str) -> Self {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let folder = folder.expect("a folder");
        let data = folder.path().join("data");
        let environment = Environment::parse(environment).expect("valid");
        let report = crate::init(&data, &environment, &InitOptions::default()).expect("made");
        let admin = std::fs::read(&report.admin).expect("written");
        let admin = serde_json::from_slice(&admin).expect("a credential");
        let listen = Some("127.0.0.1:0".parse().expect("an address"));
        let running = crate::start(&ServeOptions { folder: data, listen }).expect("starts");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let app = Arc::clone(running.app());
        let doors = RefCell::new(Doors::new(&app));
        Self { running: Some(running), app, doors, runtime, admin, _folder: folder }
    }

    /// Sends a request, and reads its answer.
    pub(crate) fn send(&self, sent: impl Into<Sent>) -> Told {
        let Sent { request, from } = sent.into();
        self.runtime.block_on(async {
            let door = self.doors.borrow_mut().call(from);
            let mut door = door.await.expect("never fails");
            let response = door.call(request).await.expect("never fails");
            let status = response.status().as_u16();
            let repeated = response.headers().get("idempotency-replayed").is_some_and(|value| value == "true");
            let body = to_bytes(response.into_body(), 64 << 20).await.expect("a body");
            Told { status, repeated, body }
        })
    }

    pub(crate) fn post(&self, path: &str, token: &str, body: &Value) -> Told {
        self.send(Asked::post(path, Some(token), body))
    }

    pub(crate) fn ask_token(&self, client_id: &str, secret: &str) -> Told {
        let body = json!({"client_id": client_id, "client_secret": secret});
        self.send(Asked::post("/v1/token", None, &body))
    }

    pub(crate) fn token(&self, client_id: &str, secret: &str) -> String {
        self.ask_token(client_id, secret).ok()["access_token"].as_str().expect("a token").to_owned()
    }

    pub(crate) fn admin(&self) -> String {
        self.token(&self.admin.client_id, &self.admin.client_secret)
    }

    pub(crate) fn tenant(&self, tenant: &str) {
        self.post("/v1/tenants", &self.admin(), &json!({"tenant": tenant})).ok();
    }

    pub(crate) fn program(&self, tenant: &str, name: &str, role: &str) -> Program {
        let body = json!({"tenant": tenant, "name": name, "role": role});
        let made = self.post("/v1/service-accounts", &self.admin(), &body).ok();
        let text = |name: &str| made[name].as_str().expect("text").to_owned();
        let (client_id, secret) = (text("client_id"), text("client_secret"));
        let token = self.token(&client_id, &secret);
        Program { client_id, secret, token }
    }

    pub(crate) fn revoke(&self, program: &Program) {
        let path = format!("/v1/service-accounts/{}/revoke", program.client_id);
        self.post(&path, &self.admin(), &json!({})).ok();
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        if let Some(running) = self.running.take()
            && !std::thread::panicking()
        {
            running.stop().expect("stops");
        }
    }
}

/// A project in which each entity has a key `id`, an event time `seen` and the features that are named, all of text.
pub(crate) fn project(entities: &[(&str, &[&str])]) -> Value {
    let feature = |name: &str, ty: &str, role: &str| json!({"name": name, "type": {"kind": ty}, "role": role, "location": {"file": "shop.py", "line": 1}});
    let entity = |(name, features): &(&str, &[&str])| {
        let fixed = [feature("id", "int", "key"), feature("seen", "datetime", "event_time")];
        let features: Vec<Value> =
            fixed.into_iter().chain(features.iter().map(|name| feature(name, "str", "value"))).collect();
        json!({"name": name, "features": features, "location": {"file": "shop.py", "line": 1}})
    };
    let entities: Vec<Value> = entities.iter().map(entity).collect();
    json!({
        "format": "creta.bundle/1",
        "graph": {"format": "creta.graph/1", "project": "shop", "entities": entities},
        "modules": {},
        "lock": {"python": "3.11", "packages": {}},
    })
}
