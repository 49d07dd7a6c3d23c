//! The sample backend as a program.

use std::{env, error::Error, future::Future, io, net::SocketAddr, process::ExitCode, time::Duration};

use ravelin_echo::{Echo, Options};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::timeout,
};

const USAGE: &str = "\
Answers with what it saw, over HTTP/1.1 and HTTP/2 without TLS; see the crate's documentation for its switches.

usage: ravelin-echo [--listen ADDRESS:PORT] [--name NAME] [--drain-delay SECONDS]

  --listen       where to listen; 0.0.0.0:8080
  --name         what it calls itself; the host's name, or echo
  --drain-delay  how long it still accepts after SIGTERM or SIGINT, while /healthz answers 503; 5
";

/// What an answer may take when nothing is accepted any more. Below Kubernetes' 30 seconds with the usual delay.
const LAST_ANSWERS: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    let settings = match Settings::parse(env::args().skip(1)) {
        Ok(Some(settings)) => settings,
        Ok(None) => {
            say(USAGE);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprint!("ravelin-echo: {error}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ravelin-echo: {error}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug, PartialEq)]
struct Settings {
    listen: SocketAddr,
    name: String,
    drain_delay: Duration,
}

impl Settings {
    /// Nothing if help was asked for.
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut settings = Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 8080)),
            name: env::var("HOSTNAME").unwrap_or_else(|_| "echo".to_owned()),
            drain_delay: Duration::from_secs(5),
        };
        while let Some(flag) = arguments.next() {
            if flag == "--help" || flag == "-h" {
                return Ok(None);
            }
            let mut value = || arguments.next().ok_or_else(|| format!("{flag} needs a value"));
            match flag.as_str() {
                "--listen" => settings.listen = parsed(&flag, &value()?)?,
                "--name" => settings.name = value()?,
                "--drain-delay" => settings.drain_delay = Duration::from_secs(parsed(&flag, &value()?)?),
                _ => return Err(format!("{flag}: no such flag")),
            }
        }
        Ok(Some(settings))
    }
}

fn parsed<T: std::str::FromStr<Err: Error>>(flag: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|error| format!("{flag} {value}: {error}"))
}

fn run(settings: Settings) -> io::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        // Before anybody can know that we are here.
        let mut stop =
            Stop { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? };
        let options = Options { listen: settings.listen, name: settings.name, remember: 0 };
        let listen = options.listen;
        let echo = Echo::start(options).map_err(|error| io::Error::new(error.kind(), format!("{listen}: {error}")))?;
        say(&format!("ravelin-echo {} listens on {}\n", echo.name(), echo.address()));
        stop.asked().await;
        echo.drain();
        // A second signal shortens each wait.
        within(settings.drain_delay, stop.asked()).await;
        within(LAST_ANSWERS, async {
            tokio::select! {
                () = echo.stop() => {}
                () = stop.asked() => {}
            }
        })
        .await;
        Ok(())
    })
}

struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

async fn within(limit: Duration, wait: impl Future<Output = ()>) {
    drop(timeout(limit, wait).await);
}

/// The ready line is how a parent process learns the port.
#[expect(clippy::print_stdout, reason = "the one line that the program's users wait for, and its help")]
fn say(text: &str) {
    print!("{text}");
    // Who does not read us does not need it.
    drop(io::Write::flush(&mut io::stdout()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Option<Settings>, String> {
        Settings::parse(arguments.iter().map(|argument| (*argument).to_owned()))
    }

    #[test]
    fn flags_say_where_who_and_how_long() {
        let settings = parse(&["--listen", "[::1]:0", "--name", "orders", "--drain-delay", "1"]).unwrap().unwrap();
        let expected = Settings {
            listen: "[::1]:0".parse().unwrap(),
            name: "orders".to_owned(),
            drain_delay: Duration::from_secs(1),
        };
        assert_eq!(settings, expected);
    }

    #[test]
    fn a_wrong_flag_is_named() {
        for (arguments, says) in [
            (&["--listen", "here"][..], "--listen here: "),
            (&["--name"], "--name needs a value"),
            (&["--drain-delay", "-1"], "--drain-delay -1: "),
            (&["--port", "1"], "--port: no such flag"),
        ] {
            let error = parse(arguments).unwrap_err();
            assert!(error.starts_with(says), "{error}");
        }
    }
}
