//! `ravelin usage`: what is used of quotas, by the admin interface of a gateway that runs.

use std::{
    io::{self, Write},
    net::SocketAddr,
    process::ExitCode,
};

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::{Args, Subcommand};
use comfy_table::{Table, presets};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use ravelin_dataplane::explain::Plain;
use serde::Deserialize;

use crate::output::Output;

/// Show what is used of quotas; reset it, or grant more
///
/// It asks a gateway that runs, on this machine: standalone, or a data plane to which kubectl port-forward leads.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  ravelin usage --policy shop/orders\n  ravelin usage reset shop/orders month acme\n  ravelin usage grant shop/orders month acme 5000"
)]
pub(crate) struct UsageArgs {
    #[command(subcommand)]
    change: Option<Change>,
    /// Of this RateLimitPolicy
    #[arg(long, value_name = "NAMESPACE/NAME")]
    policy: Option<String>,
    /// Of this limit
    #[arg(long, value_name = "NAME")]
    limit: Option<String>,
    /// Of this key, which is a caller, say
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Where the gateway's admin interface is
    #[arg(long, global = true, value_name = "ADDR", default_value = "127.0.0.1:9901")]
    admin: SocketAddr,
    /// text for people, json for machines
    #[arg(short, long, value_enum, default_value_t = Output::Text, value_name = "FORM")]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum Change {
    /// Forget what a key has used in its present term
    #[command(after_help = "Example:\n  ravelin usage reset shop/orders month acme")]
    Reset(Whose),
    /// Let a key have more requests in its present term
    #[command(after_help = "Example:\n  ravelin usage grant shop/orders month acme 5000")]
    Grant {
        #[command(flatten)]
        whose: Whose,
        /// So many more
        #[arg(value_name = "REQUESTS")]
        requests: u64,
    },
}

#[derive(Debug, Args)]
struct Whose {
    #[arg(value_name = "NAMESPACE/POLICY")]
    policy: String,
    #[arg(value_name = "LIMIT")]
    limit: String,
    /// As `ravelin usage -o json` shows it
    #[arg(value_name = "KEY")]
    key: String,
}

#[derive(Debug, Deserialize)]
struct Usages {
    usage: Vec<Usage>,
    more: bool,
}

#[derive(Debug, Deserialize)]
struct Usage {
    policy: String,
    limit: String,
    key: String,
    used: u64,
    requests: u64,
    granted: u64,
    ends: i64,
}

pub(crate) fn run(args: &UsageArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let ask = |method: &str, path: &str| runtime.block_on(ask(args.admin, method, path));
    let mut out = io::stdout().lock();
    match &args.change {
        None => {
            let asked = [("policy", &args.policy), ("limit", &args.limit), ("key", &args.key)];
            let asked = asked.iter().filter_map(|(name, value)| Some(format!("{name}={}", encode(value.as_ref()?))));
            let body = ask("GET", &format!("/usage?{}", asked.collect::<Vec<_>>().join("&")))?;
            match args.output {
                Output::Json => writeln!(out, "{}", body.trim_end())?,
                Output::Text => show(&mut out, &serde_json::from_str(&body).context("the answer is no usage")?)?,
            }
        }
        Some(Change::Reset(whose)) => {
            let said = ask("POST", &format!("{}/reset?key={}", path(whose)?, encode(&whose.key)))?;
            write!(out, "{said}")?;
        }
        Some(Change::Grant { whose, requests }) => {
            let path = format!("{}/grant?key={}&requests={requests}", path(whose)?, encode(&whose.key));
            write!(out, "{}", ask("POST", &path)?)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn path(Whose { policy, limit, .. }: &Whose) -> anyhow::Result<String> {
    let Some((namespace, name)) = policy.split_once('/') else {
        bail!("`{policy}` names no RateLimitPolicy: write NAMESPACE/NAME");
    };
    Ok(format!("/usage/{}/{}/{}", encode(namespace), encode(name), encode(limit)))
}

/// For a path or a query.
fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let one = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(one).collect()
}

fn show(out: &mut impl Write, usages: &Usages) -> anyhow::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["POLICY", "LIMIT", "KEY", "USED", "OF", "GRANTED", "UNTIL"]);
    for Usage { policy, limit, key, used, requests, granted, ends } in &usages.usage {
        let until = Timestamp::from_second(*ends).map_or_else(|_| "never".to_owned(), |time| time.to_string());
        let [policy, limit, key] = [policy, limit, key].map(|word| Plain(word).to_string());
        let numbers = [used, requests, granted].map(u64::to_string);
        let [used, requests, granted] = numbers;
        table.add_row([policy, limit, key, used, requests, granted, until]);
    }
    writeln!(out, "{}", table.trim_fmt())?;
    if usages.more {
        writeln!(out, "there is more: ask for a --policy, a --limit or a --key")?;
    }
    Ok(())
}

async fn ask(admin: SocketAddr, method: &str, path: &str) -> anyhow::Result<String> {
    let stream = tokio::net::TcpStream::connect(admin).await;
    let stream = stream.with_context(|| format!("nothing answers at {admin}; say where with --admin"))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driven = tokio::spawn(connection);
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header(http::header::HOST, admin.to_string())
        .body(Empty::<Bytes>::new())?;
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    driven.abort();
    let body = String::from_utf8_lossy(&body).into_owned();
    if !status.is_success() {
        bail!("{} ({status})", body.trim_end());
    }
    Ok(body)
}
