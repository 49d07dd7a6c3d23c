//! What the demo prints.

use std::io::{IsTerminal, Write};

use ravelin_echo::client::Answer;

use crate::gateway::{self, Gateway};

/// Prints a line; a reader that has gone away is no trouble.
fn line(text: &str) {
    drop(writeln!(std::io::stdout().lock(), "{text}"));
}

fn styled(code: &str, text: &str) -> String {
    if std::io::stdout().is_terminal() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

/// A new chapter: what is shown, and why it matters.
pub(crate) fn heading(number: usize, title: &str, why: &str) {
    line("");
    line(&styled("1", &format!("{number}. {title}")));
    line(&styled("2", &format!("   {why}")));
}

pub(crate) fn command(text: &str) {
    line(&format!("   $ {text}"));
}

pub(crate) fn says(text: &str) {
    for text in text.lines() {
        line(&format!("     {text}"));
    }
}

/// An answer's status, some of its headers, and what the backend or the gateway says in it.
pub(crate) fn answer(answer: &Answer, headers: &[&str]) {
    says(&answer.status.to_string());
    for name in headers {
        if let Some(value) = answer.header(name) {
            says(&format!("{name}: {value}"));
        }
    }
    if answer.header("content-type") == Some("application/problem+json") {
        says(&answer.text());
    }
}

pub(crate) fn end() {
    line("");
    line("All of it worked, and nothing is left running. `make run` leaves it up; the README says what else there is.");
}

pub(crate) fn invitation(gateway: &Gateway) -> anyhow::Result<()> {
    let (http, admin, folder) = (gateway.http, gateway.admin, gateway.shop.display());
    let ravelin = gateway::program()?;
    let ravelin = ravelin.display();
    line(&format!("The gateway serves {folder} on http://{http}; Ctrl-C ends it. Try:"));
    line("");
    for (text, why) in [
        (format!("curl -H 'Host: shop.example' http://{http}/"), "an answer without a backend"),
        (format!("curl -H 'Host: shop.example' http://{http}/orders/1"), "nine of ten go to orders-v1"),
        (format!("curl -i -H 'Host: shop.example' http://{http}/reports"), "401, for want of a key"),
        (format!("{ravelin} key new --id me --label app=shop > {folder}/key.yaml"), "a key; show it as x-api-key"),
        (format!("curl -i -H 'Host: shop.example' http://{http}/search"), "429 from the sixth on"),
        (format!("$EDITOR {folder}/routes.yaml"), "what is saved is live, or refused as a whole"),
        (format!("{ravelin} explain {folder} GET http://shop.example/search"), "which rule, and why"),
        (format!("curl http://{admin}/objects"), "what became of each object"),
    ] {
        line(&format!("  # {why}"));
        line(&format!("  {text}"));
    }
    Ok(std::io::stdout().flush()?)
}

pub(crate) fn trouble(error: &anyhow::Error) {
    drop(writeln!(std::io::stderr().lock(), "demo: {error:#}"));
}
