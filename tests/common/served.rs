//! A running server, and what it serves.
#![allow(dead_code, reason = "each test file uses some of it")]

use crate::common::{eyeshot, picture, run, tiny_clip};
use eyeshot::serve::proto::v1::collections_client::CollectionsClient;
use eyeshot::serve::proto::v1::images_client::ImagesClient;
use eyeshot::serve::proto::v1::search_client::SearchClient;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tonic::transport::Channel;

/// A running server, killed when dropped, and a connection to it.
pub struct Served {
    pub process: Process,
    pub channel: Channel,
    /// Where HTTP listens: `http://127.0.0.1:PORT`.
    pub http: String,
}

/// The program as a server, killed when dropped.
pub struct Process {
    pub child: Child,
    /// Where gRPC and HTTP listen: `127.0.0.1:PORT`.
    pub grpc: String,
    pub http: String,
}

impl Drop for Process {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

impl Process {
    /// Starts on free ports, and waits until it listens.
    pub fn start(home: &Path, flags: &[&str]) -> Self {
        Process::start_in(eyeshot(home), flags)
    }

    /// The same for a command that may have an environment of its own.
    pub fn start_in(mut command: Command, flags: &[&str]) -> Self {
        let model = tiny_clip();
        let usual = ["serve", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--json", "--model"];
        command.args(usual).arg(model).args(flags);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
        let address = |name: &str| said[name].as_str().unwrap().to_owned();
        Process { child, grpc: address("grpc"), http: address("http") }
    }
}

impl Served {
    pub async fn start(home: &Path, flags: &[&str]) -> Self {
        Served::of(Process::start(home, flags)).await
    }

    pub async fn of(process: Process) -> Self {
        let address = Channel::from_shared(format!("http://{}", process.grpc)).unwrap();
        let (channel, http) = (address.connect().await.unwrap(), format!("http://{}", process.http));
        Served { process, channel, http }
    }

    pub fn search(&self) -> SearchClient<Channel> {
        SearchClient::new(self.channel.clone())
    }

    pub fn images(&self) -> ImagesClient<Channel> {
        ImagesClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX)
    }

    pub fn collections(&self) -> CollectionsClient<Channel> {
        CollectionsClient::new(self.channel.clone())
    }

    /// Asks the process to stop, and waits until it has.
    pub fn terminate(mut self) -> std::process::ExitStatus {
        let id = self.process.child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        self.process.child.wait().unwrap()
    }
}

/// A folder of three pictures, two with captions.
pub fn pictures(home: &Path) {
    let folder = home.join("pictures");
    std::fs::create_dir_all(&folder).unwrap();
    for (name, seed) in [("one.png", 1), ("two.jpg", 2), ("three.webp", 3)] {
        picture(&folder.join(name), seed);
    }
    std::fs::write(folder.join("one.txt"), "a cat\n").unwrap();
    let said = r#"{"captions": ["a dog"], "background": "blue", "count": 2}"#;
    std::fs::write(folder.join("two.json"), said).unwrap();
}

pub fn indexed(home: &Path) {
    pictures(home);
    run(home, ["index", "pictures", "--model", tiny_clip().to_str().unwrap()]).expect(0);
}

pub fn bytes(home: &Path, seed: u32) -> Vec<u8> {
    let path = home.join(format!("made-{seed}.png"));
    picture(&path, seed);
    std::fs::read(path).unwrap()
}
