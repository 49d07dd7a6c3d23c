//! The way of a request, top to bottom. The order is the design's, with the reason at the line.

use std::{rc::Rc, time::Instant, time::SystemTime};

use http::{Request, Response};
use hyper::body::Incoming;

use crate::{
    body::AnswerBody,
    expression::Scope,
    policy::{
        auth::Admitted,
        limit::{self, Permit, Phase},
    },
    reject::{Reason, Refused, Reject},
    request::{Caller, Connection, RequestView, Target},
    server::Worker,
    table::{
        Table,
        rule::{Action, Destination, Guard, Rule},
    },
    upstream,
};

/// Answers one request. It never fails: what goes wrong becomes an answer with a reason.
pub async fn handle(worker: &Rc<Worker>, connection: &Connection, request: Request<Incoming>) -> Response<AnswerBody> {
    let table = worker.table();
    let grpc = request
        .headers()
        .get(http::header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    let target = match Target::read(&request, connection, &worker.settings) {
        Ok(target) => target,
        Err(reject) => return reject.render(Refused { request_id: "", grpc }).map(AnswerBody::from),
    };
    match stages(worker, &table, connection, &target, request).await {
        Ok(answer) => answer,
        Err(reject) => reject.render(Refused { request_id: &target.id, grpc }).map(AnswerBody::from),
    }
}

async fn stages(
    worker: &Rc<Worker>,
    table: &Table,
    connection: &Connection,
    target: &Target,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Reject> {
    let (now, clock) = (Instant::now(), SystemTime::now());
    let headers = request.headers().clone();
    let view = RequestView {
        method: &request.method().clone(),
        path: &target.path,
        query: &target.query,
        headers: &headers,
        host: &target.host,
        scheme: connection.scheme,
        id: &target.id,
        source: target.source,
    };
    let found = table.find(&view, clock).ok_or(Reason::NoRoute)?;
    let rule = found.rule;
    let anonymous = Caller::default();
    let scope = Scope { request: &view, caller: &anonymous, route: &rule.name, now: clock };
    let early = limits(table, rule, Phase::PreAuthentication, &scope, now)?; // cheap, before credentials cost anything
    let admitted = authorise(table, rule, &view, clock)?;
    let scope = Scope { caller: &admitted.caller, ..scope };
    let permit = limits(table, rule, Phase::Main, &scope, now)?.and(early); // may name the caller
    let mut answer = act(worker, table, rule, request, &admitted).await?;
    permit.tell(answer.headers_mut());
    Ok(answer)
}

fn limits<'t>(
    table: &'t Table,
    rule: &Rule,
    phase: Phase,
    scope: &Scope<'_>,
    now: Instant,
) -> Result<Permit<'t>, Reject> {
    if rule.limits.iter().any(|guard| matches!(guard, Guard::Closed(_))) {
        return Err(Reason::PolicyInvalid.into());
    }
    let policies = rule.limits.iter().filter_map(|guard| match guard {
        Guard::Policy(slot) => Some(table.limit(*slot)),
        Guard::Open | Guard::Closed(_) => None,
    });
    limit::admit(policies, phase, scope, now)
}

fn authorise(table: &Table, rule: &Rule, view: &RequestView<'_>, clock: SystemTime) -> Result<Admitted, Reject> {
    match &rule.auth {
        Guard::Open => Ok(Admitted::default()),
        Guard::Policy(slot) => table.auth(*slot).judge(view, &rule.name, clock),
        Guard::Closed(_) => Err(Reason::PolicyInvalid.into()),
    }
}

/// What the rule does, now that its guards have admitted the request.
async fn act(
    worker: &Rc<Worker>,
    table: &Table,
    rule: &Rule,
    request: Request<Incoming>,
    _admitted: &Admitted,
) -> Result<Response<AnswerBody>, Reject> {
    match &rule.action {
        Action::Forward(forward) => {
            let destination = forward.backends.first().map(|target| target.to);
            let backend = match destination.ok_or(Reason::NoEndpoints)? {
                Destination::Backend(slot) => table.backend(slot),
                Destination::Reject(reason) => return Err(reason.into()),
            };
            let call = upstream::Call {
                backend,
                algorithm: forward.algorithm,
                request: request.map(upstream::Upload::from),
                deadline: None,
                attempt_timeout: rule.timeouts.backend_request,
                stream_idle: rule.timeouts.stream_idle,
            };
            let answer = upstream::send(&worker.pools, call).await.map_err(|failure| failure.reason)?;
            Ok(answer.map(|body| AnswerBody::Upstream(Box::new(body))))
        }
        Action::Redirect(_) | Action::Respond(_) => Err(Reason::RouteInvalid.into()),
        Action::Reject(reason) => Err((*reason).into()),
    }
}
