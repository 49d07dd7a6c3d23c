//! Carries out a page: files are written where their first line says, commands run in a shell, and what they print is
//! held against what the page shows. Only ports differ: the page's fixed ones stand for free ones here.

use std::{fs, path::Path};

use ravelin_echo::{Echo, client};
use tokio::{process::Command, time::timeout};

use crate::{
    gateway::{DEADLINE, Gateway},
    page::{Page, Sort},
};

struct Stage {
    folder: tempfile::TempDir,
    /// A port of the page and the one that stands for it.
    ports: Vec<(String, String)>,
    backends: Vec<Echo>,
    gateway: Option<Gateway>,
    key: String,
}

pub(crate) async fn carry_out(page: &Page) {
    let mut stage = Stage {
        folder: tempfile::tempdir().unwrap(),
        ports: Vec::new(),
        backends: Vec::new(),
        gateway: None,
        key: String::new(),
    };
    for block in &page.blocks {
        let place = format!("{}, line {}", page.name, block.line);
        match block.sort {
            Sort::Yaml | Sort::Broken => {
                let name = block.text.lines().next().and_then(|line| line.strip_prefix("# "));
                let name = name.unwrap_or_else(|| panic!("{place}: the first line does not name the file"));
                stage.write(name, &with_ports(&block.text, &stage.ports)).await;
            }
            Sort::Console => {
                for (command, printed) in commands(&block.text) {
                    stage.run(&command, &printed, &place).await;
                }
            }
            Sort::HttpRoute | Sort::Values | Sort::Json | Sort::Text | Sort::Unknown => {}
        }
    }
    let gateway = stage.gateway.take();
    gateway.unwrap_or_else(|| panic!("{} starts no gateway", page.name)).end().await;
}

/// Commands, each with the lines below it.
fn commands(text: &str) -> Vec<(String, Vec<String>)> {
    let mut commands: Vec<(String, Vec<String>)> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => commands.push((command.to_owned(), Vec::new())),
            (None, Some((_, printed))) => printed.push(line.to_owned()),
            (None, None) => panic!("a console block begins with `$ `: {line}"),
        }
    }
    commands
}

impl Stage {
    async fn run(&mut self, command: &str, printed: &[String], place: &str) {
        let words: Vec<&str> = command.split_whitespace().collect();
        match words.as_slice() {
            // What a clone and a build come to is here already.
            ["git", "clone", ..] | ["cargo", "install", ..] | ["make", ..] => {}
            // The reader copies what was printed; here it is taken from there.
            [assignment] if assignment.starts_with("KEY=") => assert!(!self.key.is_empty(), "{place}: there is no key"),
            ["ravelin-echo", "--listen", address, "--name", name, "&"] => {
                let echo = Echo::on_thread(*name).unwrap();
                let port = address.rsplit(':').next().unwrap_or_default().to_owned();
                self.ports.push((port, echo.address().port().to_string()));
                self.backends.push(echo);
            }
            ["ravelin", "standalone", arguments @ ..] => self.start(arguments).await,
            _ => self.shell(command, printed, place).await,
        }
    }

    async fn start(&mut self, arguments: &[&str]) {
        let gateway = Gateway::start(self.folder.path(), arguments).await;
        for (port, address) in [("8080", gateway.http), ("8443", gateway.https), ("9901", gateway.admin)] {
            self.ports.push((port.to_owned(), address.port().to_string()));
        }
        self.gateway = Some(gateway);
    }

    /// The page's output is in order, `...` stands for anything; no output means that nothing is printed and all is well.
    async fn shell(&mut self, command: &str, printed: &[String], place: &str) {
        // What goes into the folder goes there whole, so that there is one change to wait for.
        let (command, into) =
            command.rsplit_once(" > ").map_or((command, None), |(command, file)| (command, Some(file)));
        let before = self.objects().await;
        let files = listing(self.folder.path());
        let bin = Path::new(env!("CARGO_BIN_EXE_ravelin")).parent().expect("a folder (invariant)");
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
        let shell = Command::new("bash")
            .args(["-c", &with_ports(command, &self.ports)])
            .current_dir(self.folder.path())
            .env("PATH", path)
            .env("KEY", &self.key)
            .kill_on_drop(true)
            .output();
        let output = timeout(DEADLINE, shell).await.unwrap().expect("bash is needed");
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_ne!(output.status.code(), Some(127), "{place}: {command}: {stderr}");
        if let Some(key) =
            stdout.split_whitespace().chain(stderr.split_whitespace()).find(|word| word.starts_with("rk_"))
        {
            self.key = key.to_owned();
        }
        let told = || format!("{place}: $ {command}\n{stdout}{stderr}");
        if let Some(file) = into {
            assert!(output.status.success(), "{}", told());
            self.write(file, &stdout).await;
        } else if files != listing(self.folder.path()) {
            self.changed(&before).await;
        }
        if printed.is_empty() {
            assert!(output.status.success(), "{}", told());
        } else if let Err(missing) = shows(&format!("{stdout}\n{stderr}"), printed) {
            panic!("`{missing}` is not there: {}", told());
        }
    }

    /// Writes a file as an editor does, and waits until the gateway has taken it up.
    async fn write(&self, name: &str, text: &str) {
        let before = self.objects().await;
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder (invariant)")).unwrap();
        let beside = path.with_extension("new");
        fs::write(&beside, text).unwrap();
        fs::rename(beside, path).unwrap();
        self.changed(&before).await;
    }

    async fn changed(&self, before: &Option<String>) {
        let served = |now: &Option<String>| !now.as_deref().is_some_and(|now| now.contains("\"reason\":\"Pending\""));
        let differs = async {
            while before.is_some() {
                let now = self.objects().await;
                if now != *before && served(&now) {
                    return;
                }
            }
        };
        timeout(DEADLINE, differs).await.expect("the gateway does not take the change");
    }

    /// What the gateway says of its objects, once it runs.
    async fn objects(&self) -> Option<String> {
        Some(client::get(self.gateway.as_ref()?.admin, "127.0.0.1", "/objects").await.unwrap().text())
    }
}

/// Whole words only: four digits of a digest are no port.
fn with_ports(text: &str, ports: &[(String, String)]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let is_word = |at: char| at.is_ascii_alphanumeric();
        let word = &rest[..rest.find(|at| !is_word(at)).unwrap_or(rest.len())];
        let ours = ports.iter().find(|(page, _)| page == word);
        out.push_str(ours.map_or(word, |(_, ours)| ours));
        rest = &rest[word.len()..];
        let between = &rest[..rest.find(is_word).unwrap_or(rest.len())];
        out.push_str(between);
        rest = &rest[between.len()..];
    }
    out
}

fn listing(folder: &Path) -> Vec<(std::path::PathBuf, std::time::SystemTime)> {
    let Ok(entries) = fs::read_dir(folder.join("shop")) else { return Vec::new() };
    let entries = entries.map(|entry| entry.unwrap());
    let mut list: Vec<_> = entries.map(|entry| (entry.path(), entry.metadata().unwrap().modified().unwrap())).collect();
    list.sort();
    list
}

/// Whether each line of the page is in the output, in order; parts of lines count, several in one line too.
fn shows<'p>(output: &str, printed: &'p [String]) -> Result<(), &'p str> {
    let lines: Vec<&str> = output.lines().collect();
    let mut at = 0;
    for wanted in printed.iter().filter(|wanted| *wanted != "...") {
        let found = lines[at..].iter().position(|line| contains(line, wanted));
        at += found.ok_or(wanted.as_str())?;
    }
    Ok(())
}

fn contains(line: &str, wanted: &str) -> bool {
    let mut rest = Some(line);
    for part in wanted.split("...") {
        rest = rest.and_then(|rest| rest.split_once(part)).map(|(_, after)| after);
    }
    rest.is_some()
}

#[test]
fn a_port_is_another_where_it_stands_alone() {
    let ports = [("9001".to_owned(), "8080".to_owned()), ("8080".to_owned(), "41234".to_owned())];
    let said = "http://127.0.0.1:8080/ {port: 9001} sha256: 03aa9001b9 8080";
    assert_eq!(with_ports(said, &ports), "http://127.0.0.1:41234/ {port: 8080} sha256: 03aa9001b9 41234");
}
