//! The processes of the demo: two sample backends in this one, the gateway beside it, and the folder that it follows.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use anyhow::{Context, ensure};
use ravelin_echo::{Echo, client};
use serde::Deserialize;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::{sleep, timeout},
};

/// The gateway and all that it needs; it ends with this value.
pub(crate) struct Gateway {
    /// What the gateway follows; its log is beside it, for a log in it would be a change.
    pub(crate) shop: PathBuf,
    _folder: tempfile::TempDir,
    pub(crate) http: SocketAddr,
    pub(crate) admin: SocketAddr,
    process: Child,
    _backends: [Echo; 2],
}

/// The one line that the gateway prints when it serves everything.
#[derive(Deserialize)]
struct Ready {
    http: SocketAddr,
    admin: SocketAddr,
}

const DEADLINE: Duration = Duration::from_secs(30);

impl Gateway {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let v1 = Echo::on_thread("orders-v1")?;
        let v2 = Echo::on_thread("orders-v2")?;
        let folder = tempfile::tempdir()?;
        let shop = folder.path().join("shop");
        fs::create_dir(&shop)?;
        for file in ["backends.yaml", "routes.yaml", "policies.yaml"] {
            let text = fs::read_to_string(examples().join(file))?;
            let text = text.replace("port: 9001", &format!("port: {}", v1.address().port()));
            fs::write(shop.join(file), text.replace("port: 9002", &format!("port: {}", v2.address().port())))?;
        }
        let mut process = Command::new(program()?)
            .arg("standalone")
            .arg(&shop)
            .args(["--http", "127.0.0.1:0", "--https", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(fs::File::create(folder.path().join("gateway.log"))?)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the gateway")?;
        let stdout = process.stdout.take().context("the gateway has no stdout")?;
        let line = timeout(DEADLINE, BufReader::new(stdout).lines().next_line()).await??;
        let log = || fs::read_to_string(folder.path().join("gateway.log")).unwrap_or_default();
        let line = line.with_context(|| format!("the gateway ended:\n{}", log()))?;
        let Ready { http, admin } = serde_json::from_str(&line).with_context(|| line.clone())?;
        Ok(Self { shop, _folder: folder, http, admin, process, _backends: [v1, v2] })
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.shop.join(name)
    }

    /// Replaces `from` by `to` in a file of the folder, as an editor does: a new file in the old one's place.
    pub(crate) fn edit(&self, name: &str, from: &str, to: &str) -> anyhow::Result<()> {
        let text = fs::read_to_string(self.file(name))?;
        ensure!(text.contains(from), "{name} has no `{from}`");
        self.write(name, &text.replace(from, to))
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let beside = self.file(&format!("{name}.new"));
        fs::write(&beside, text)?;
        fs::rename(beside, self.file(name))?;
        Ok(())
    }

    /// What the gateway says about its objects, once `holds` is true of it.
    pub(crate) async fn objects(&self, holds: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        let wait = async {
            loop {
                let objects = client::get(self.admin, "127.0.0.1", "/objects").await?.json();
                if holds(&objects) {
                    return anyhow::Ok(objects);
                }
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(DEADLINE, wait).await.context("the gateway does not take the change")?
    }

    /// Runs `ravelin` with these arguments.
    pub(crate) async fn ravelin(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        Ok(Command::new(program()?).args(arguments).output().await?)
    }

    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        let id = self.process.id().context("the gateway has ended by itself")?;
        // SIGTERM by the shell's own `kill`: the standard library only knows SIGKILL.
        Command::new("sh").args(["-c", &format!("kill {id}")]).status().await?;
        let status = timeout(DEADLINE, self.process.wait()).await.context("the gateway does not end")??;
        ensure!(status.success(), "the gateway ended with {status}");
        Ok(())
    }
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../shop")
}

/// `ravelin`, which `make demo` builds beside this program.
pub(crate) fn program() -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name("ravelin");
    ensure!(path.exists(), "{} is missing: cargo build -p ravelin", path.display());
    Ok(path)
}
