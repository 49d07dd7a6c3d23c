//! The way of a request, top to bottom: `Exchange::stages` is the order of the stages, with the reason at the line.

pub(crate) mod coalesce;
mod deadline;
mod forward;
mod headers;
mod homeward;
pub(crate) mod mirror;
mod session;
mod sticky;

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::{Instant, SystemTime},
};

use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};

use self::{headers::CallerHeaders, homeward::Homeward};
use crate::{
    body::AnswerBody,
    expression::Scope,
    filter::{DirectResponse, Redirect, Redirected, grpc_web::Web},
    policy::{
        auth::{Admitted, Aide, Denial, Welcome, denial},
        limit::{self, Permit, Phase},
    },
    record::{Record, Recorded},
    reject::{Reason, Refused, Reject},
    request::{self, Caller, Connection, RequestView, Target, X_REQUEST_ID},
    server::{WebSocket, Worker},
    table::{
        Found, Table,
        rule::{Action, Guard, Rule},
    },
    upstream::Upload,
};

/// What all stages of one request may read.
struct Exchange<'a> {
    worker: &'a Rc<Worker>,
    table: &'a Table,
    connection: &'a Connection,
    target: &'a Target,
    now: Instant,
    clock: SystemTime,
    grpc: bool,
    /// A browser's way of gRPC.
    web: Option<Web>,
    record: &'a RefCell<Box<Record>>,
    /// Until when an answer of a backend is of use.
    deadline: Cell<Option<Instant>>,
    /// What is left to be done with the answer.
    homeward: &'a Cell<Option<Box<Homeward<'a>>>>,
    /// Cookies for the client, whatever becomes of the request.
    cookies: &'a Cell<Option<Arc<[HeaderValue]>>>,
}

/// An answer, and the id of its request, which is to go with it in place of any other.
pub struct Answered {
    pub answer: Response<Recorded>,
    pub id: HeaderValue,
}

impl Answered {
    /// The id among the headers.
    pub fn whole(self) -> Response<Recorded> {
        let Self { mut answer, id } = self;
        answer.headers_mut().insert(X_REQUEST_ID, id);
        answer
    }
}

/// Answers one request. It never fails: what goes wrong becomes an answer with a reason. The request is boxed, for it passes
/// through many hands.
pub async fn handle(worker: &Rc<Worker>, connection: &Connection, request: Box<Request<Upload>>) -> Answered {
    let table = worker.table();
    let id = id_of(worker, &request);
    let grpc = headers::is_grpc(&request);
    let web = grpc.then(|| Web::of(request.headers())).flatten();
    let (head, http2) = (request.method() == Method::HEAD, request.version() == Version::HTTP_2);
    let websocket = http2.then(|| request.extensions().get::<WebSocket>().cloned()).flatten();
    let settings = &worker.settings;
    let (now, clock) = (Instant::now(), SystemTime::now());
    let record = RefCell::new(Record::begin(&worker.recorder, now, clock, &request));
    request.body().count(|| record.borrow_mut().received());
    let target = Target::read(&request, connection, id.clone(), &settings.trusted_proxies, &settings.bounds);
    let (homeward, cookies) = (Cell::new(None), Cell::new(None));
    let answered = match &target {
        Ok(target) => {
            record.borrow_mut().target(target);
            let exchange = Exchange {
                worker,
                table: &table,
                connection,
                target,
                now,
                clock,
                grpc,
                web,
                record: &record,
                deadline: Cell::new(None),
                homeward: &homeward,
                cookies: &cookies,
            };
            exchange.stages(request).await
        }
        Err(reject) => {
            record.borrow_mut().peer(connection.peer);
            Err(reject.clone())
        }
    };
    let answered = as_asked(answered, websocket);
    let malformed =
        matches!(&answered, Err(reject) if matches!(reject.reason, Reason::BadRequest | Reason::HeadersTooLarge));
    let mut answer = answered.unwrap_or_else(|reject| {
        record.borrow_mut().refused(reject.reason);
        let refused = Refused { request_id: id.to_str().unwrap_or_default(), grpc };
        reject.render(refused).map(AnswerBody::from)
    });
    if let Some(web) = web {
        answer = web.answer(answer);
    }
    if let Some(homeward) = homeward.take() {
        answer = homeward.apply(answer);
    }
    headers::tell(cookies.take(), &mut answer);
    if malformed && !http2 {
        // Who sends such a head may see the next one begin elsewhere than we do.
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if head || answer.status() == StatusCode::NO_CONTENT || answer.status() == StatusCode::NOT_MODIFIED {
        headers::without_content(&mut answer, head);
    }
    Answered { answer: record.into_inner().answer(answer), id } // counted and logged when its body has ended
}

/// The client's own id, or a fresh one.
fn id_of(worker: &Worker, request: &Request<Upload>) -> HeaderValue {
    let mut id = request::keep(request.headers()).unwrap_or_else(|| worker.request_id());
    id.set_sensitive(true); // never the same again: no table of HTTP/2 is to be filled with such, and searched
    id
}

/// A plain answer, of ours or of a backend's, is none to who asked for another protocol.
fn as_asked(
    answered: Result<Response<AnswerBody>, Reject>,
    websocket: Option<WebSocket>,
) -> Result<Response<AnswerBody>, Reject> {
    let (Some(websocket), Ok(answer)) = (websocket, &answered) else { return answered };
    if websocket.may_have(answer) {
        return answered;
    }
    let ours = matches!(answer.body(), AnswerBody::Own(_));
    Err(if ours { Reason::BadRequest } else { Reason::BackendRefused }.into())
}

impl<'a> Exchange<'a> {
    async fn stages(&self, request: Box<Request<Upload>>) -> Result<Response<AnswerBody>, Reject> {
        let Self { table, target, now, clock, .. } = *self;
        table.told()?; // before all else: a 404 would be a lie, which caches keep
        if target.path() == "*" {
            return Ok(headers::empty(StatusCode::NO_CONTENT)); // the server itself: it is there
        }
        if !self.is_directed() {
            return Err(Reason::Misdirected.into()); // before the route: the host is not this connection's
        }
        let view = self.view(&request);
        if let Some((found, cors)) = table.preflight(&view, clock) {
            self.record.borrow_mut().rule(found.rule);
            return Ok(cors.preflight(view.headers)); // before the policies: browsers send no credentials with it
        }
        let found = table.find(&view, clock).ok_or(Reason::NoRoute)?;
        let rule = found.rule;
        self.record.borrow_mut().rule(rule);
        if let Some(filters) = &rule.filters {
            self.homeward.set(Some(Box::new(Homeward::new(filters, &request))));
        }
        let anonymous = Caller::default();
        let scope = Scope { request: &view, caller: &anonymous, route: &rule.name, now: clock };
        let welcome = network(table, rule, &view).inspect_err(|no| self.audit(no.denial(), rule, &view))?; // who may not come takes nobody's tokens
        let mut early = early_limits(&welcome, table, rule, &scope, now)?; // cheap, before credentials cost anything
        if early.waits() {
            early = early.wait().await?;
        }
        let admitted = match self.authorise(&welcome, rule, &view, request.body()).await {
            Ok(admitted) => admitted,
            Err(reject) => return Ok(self.refuse(&reject, &early)),
        };
        self.record.borrow_mut().caller(&admitted.caller.id);
        if let Some(told) = &admitted.told {
            self.cookies.set(Some(Arc::clone(told)));
        }
        let scope = Scope { caller: &admitted.caller, ..scope };
        let mut permit = match limits(&admitted, table, rule, &scope, now) {
            Ok(permit) => permit, // may name the caller
            Err(reject) => return Ok(self.refuse(&reject, &early)),
        };
        if permit.waits() {
            permit = match permit.wait().await {
                Ok(permit) => permit,
                Err(reject) => return Ok(self.refuse(&reject, &early)),
            };
        }
        permit = permit.and(early);
        self.record.borrow_mut().hold(permit.seats()); // to the end of the answer
        let caller = CallerHeaders::of(table, rule, &admitted, &view, clock);
        let acted = self.act(&permit, &found, (&admitted.caller, &caller), request).await; // behind the policies, whatever it is
        let mut answer = acted.unwrap_or_else(|reject: Reject| self.render(&reject));
        permit.tell(answer.headers_mut());
        admitted.tell(answer.headers_mut());
        Ok(answer)
    }

    /// The request as all stages see it.
    fn view<'r>(&'r self, request: &'r Request<Upload>) -> RequestView<'r> {
        let target = self.target;
        RequestView {
            method: request.method(),
            path: target.path(), // one form for route, policy and backend
            raw: target.raw(),
            query: target.query(),
            headers: request.headers(),
            host: target.host(),
            // Invariant: it was read as text.
            authority: target.authority().to_str().unwrap_or_default(),
            scheme: target.scheme(),
            id: target.id(),
            source: target.client.source,
            chain: self.connection.chain.as_deref(),
        }
    }

    /// It waits only for what could make the difference, and not for long.
    async fn authorise(
        &self,
        welcome: &Welcome,
        rule: &Rule,
        view: &RequestView<'_>,
        body: &Upload,
    ) -> Result<Admitted, Reject> {
        let judged = match &rule.auth {
            Guard::Open => return Ok(Admitted::by_no_policy()),
            Guard::Policy(slot) => {
                let policy = self.table.auth(*slot);
                match policy.judge_unless_coming(welcome, view, &rule.name, self.clock) {
                    Ok(judged) => judged,
                    Err(coming) => {
                        let Self { worker, table, connection, .. } = *self;
                        let aide = Aide { pools: &worker.pools, table, connection, body };
                        // Apart: hardly a request waits.
                        Box::pin(policy.judge_waiting(coming, welcome, view, &rule.name, self.clock, aide)).await
                    }
                }
            }
            Guard::Closed(policy) => Err(Denial::closed(policy)),
        };
        self.audit(denial(&judged), rule, view);
        judged
    }

    fn audit(&self, denial: Option<&Denial>, rule: &Rule, view: &RequestView<'_>) {
        if let Some(denial) = denial {
            self.worker.recorder.denied(denial, self.clock, view.method, self.target, rule);
        }
    }

    /// What the rule does.
    async fn act(
        &self,
        _: &Permit<'_>,
        found: &Found<'_>,
        caller: (&Caller, &CallerHeaders<'_>),
        request: Box<Request<Upload>>,
    ) -> Result<Response<AnswerBody>, Reject> {
        match &found.rule.action {
            Action::Redirect(redirect) => Ok(self.redirect(redirect, found)),
            Action::Respond(response) => Ok(respond(response, found.rule)),
            Action::Reject(reason) => Err((*reason).into()),
            Action::Forward(forward) => forward::forward(self, forward, found, caller, request).await,
        }
    }

    /// Whether the connection's certificate is the host's.
    fn is_directed(&self) -> bool {
        let tls = self.connection.scheme == request::Scheme::Https;
        let server_name = self.connection.server_name.as_deref();
        !tls || self.table.certificates().fit(server_name, self.target.host())
    }

    /// A refusal that still tells about the limits that admitted the request so far.
    fn refuse(&self, reject: &Reject, permit: &Permit<'_>) -> Response<AnswerBody> {
        let mut answer = self.render(reject);
        permit.tell(answer.headers_mut());
        answer
    }

    fn render(&self, reject: &Reject) -> Response<AnswerBody> {
        if !reject.detail.as_ref().is_some_and(|detail| detail.served) {
            self.record.borrow_mut().refused(reject.reason);
        }
        reject.render(Refused { request_id: self.target.id(), grpc: self.grpc }).map(AnswerBody::from)
    }

    fn redirect(&self, redirect: &Redirect, found: &Found<'_>) -> Response<AnswerBody> {
        let from = Redirected {
            scheme: self.target.scheme().as_str(),
            host: self.target.host(),
            port: self.target.port(),
            path: self.target.path(),
            query: self.target.query(),
            prefix: found.prefix,
        };
        let mut answer = headers::empty(redirect.status);
        if let Ok(location) = HeaderValue::try_from(redirect.location(from)) {
            answer.headers_mut().insert(header::LOCATION, location);
        }
        found.rule.response_headers.apply(answer.headers_mut());
        answer
    }
}

fn respond(response: &DirectResponse, rule: &Rule) -> Response<AnswerBody> {
    let mut answer = Response::new(AnswerBody::from(response.body.clone()));
    *answer.status_mut() = response.status;
    if let Some(kind) = &response.content_type {
        answer.headers_mut().insert(header::CONTENT_TYPE, kind.clone());
    }
    rule.response_headers.apply(answer.headers_mut());
    answer
}

fn network(table: &Table, rule: &Rule, view: &RequestView<'_>) -> Result<Welcome, Reject> {
    match &rule.auth {
        Guard::Open => Ok(Welcome::by_no_policy()),
        Guard::Policy(slot) => table.auth(*slot).welcome(view),
        Guard::Closed(policy) => Err(Denial::closed(policy)),
    }
}

fn early_limits<'t>(
    _: &Welcome,
    table: &'t Table,
    rule: &Rule,
    scope: &Scope<'_>,
    now: Instant,
) -> Result<Permit<'t>, Reject> {
    limits_of(Phase::PreAuthentication, table, rule, scope, now)
}

fn limits<'t>(
    _: &Admitted,
    table: &'t Table,
    rule: &Rule,
    scope: &Scope<'_>,
    now: Instant,
) -> Result<Permit<'t>, Reject> {
    limits_of(Phase::Main, table, rule, scope, now)
}

fn limits_of<'t>(
    phase: Phase,
    table: &'t Table,
    rule: &Rule,
    scope: &Scope<'_>,
    now: Instant,
) -> Result<Permit<'t>, Reject> {
    if rule.limits.is_empty() {
        return Ok(Permit::default());
    }
    if rule.limits.iter().any(|guard| matches!(guard, Guard::Closed(_))) {
        return Err(Reason::PolicyInvalid.into());
    }
    let policies = rule.limits.iter().filter_map(|guard| match guard {
        Guard::Policy(slot) => Some(table.limit(*slot)),
        Guard::Open | Guard::Closed(_) => None,
    });
    limit::admit(policies, phase, scope, now)
}
