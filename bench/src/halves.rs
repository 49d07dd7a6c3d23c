//! What many routes weigh in each half, where each is a process, as in a pod: what holds the model and compiles on one side of the
//! socket, the program's data plane on the other.

use std::{
    future::pending,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::ensure;
use ravelin_controller::compile::{Options, compile};
use ravelin_snapshot::channel::unix;

use crate::{
    change::world::{self, Shape},
    process::Process,
    proxy,
    report::Report,
};

pub(crate) fn measure(report: &mut Report) -> anyhow::Result<()> {
    for routes in [1000, 10_000, 100_000] {
        let folder = tempfile::tempdir()?;
        let socket = folder.path().join("s");
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--publish-at").arg(&socket).args(["--publish", &routes.to_string()]);
        let mut controller = Process::start(command.stdout(Stdio::piped()))?;
        ensure!(controller.line()?.trim() == "published", "nothing is published");
        let mut command = Command::new(proxy::program()?);
        command.arg("dataplane").arg("--socket").arg(&socket).args(["--workers", "1"]);
        let dataplane = proxy::start(&mut command)?;
        let mib = |process: &Process| process.resident().map(|bytes| bytes >> 20);
        report.add(
            format!("resident memory of model and compiler, of the data plane, {routes} routes"),
            format!("{}, {} MiB", mib(&controller)?, mib(&dataplane.process)?),
            String::new(),
            "",
        );
    }
    Ok(())
}

/// What the controller holds, without its watches. Runs until it is ended.
pub(crate) fn publish(socket: &Path, routes: usize) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let publisher = unix::listen(socket)?;
        let model = world::model(routes, Shape::OneHost);
        let compiled = compile(&model, Options::default(), None);
        publisher.publish(compiled.snapshot.clone());
        writeln!(std::io::stdout(), "published")?;
        pending::<()>().await;
        drop((model, compiled));
        Ok(())
    })
}
