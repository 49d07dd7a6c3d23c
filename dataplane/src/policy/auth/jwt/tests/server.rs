//! An issuer's server: real sockets, and every way to answer badly.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use rustls_pki_types::PrivateKeyDer;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

#[derive(Clone, Debug)]
pub(super) enum Answer {
    Body(String),
    Status(u16),
    /// A redirect to there, but for `/keys` itself: that is answered with the text.
    Redirect(String, String),
    /// Says nothing at all.
    Silence,
    /// A head, and then nothing.
    Stall,
    /// Chunks without end.
    Endless,
    /// This many bytes of spaces, all of them said in advance.
    Long(usize),
    /// What is not HTTP.
    Garbage,
    /// A body that ends before its length.
    Short,
}

pub(super) struct Server {
    pub(super) address: SocketAddr,
    answer: Arc<Mutex<Answer>>,
    asked: Arc<AtomicUsize>,
    _task: JoinSet<()>,
}

impl Server {
    pub(super) async fn start(answer: Answer) -> Self {
        Self::over(answer, None).await
    }

    /// The server, and the PEM of the authority that its certificate is of.
    pub(super) async fn secure(answer: Answer) -> (Self, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        (Self::over(answer, Some(TlsAcceptor::from(Arc::new(config)))).await, made.cert.pem())
    }

    async fn over(answer: Answer, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (answer, asked) = (Arc::new(Mutex::new(answer)), Arc::new(AtomicUsize::new(0)));
        let mut task = JoinSet::new();
        let (told, counted) = (Arc::clone(&answer), Arc::clone(&asked));
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (told, counted, tls) = (Arc::clone(&told), Arc::clone(&counted), tls.clone());
                connections.spawn(async move {
                    match tls {
                        None => serve(stream, &told, &counted).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, &told, &counted).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, answer, asked, _task: task }
    }

    pub(super) fn uri(&self) -> String {
        format!("http://{}/keys", self.address)
    }

    pub(super) fn set(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    /// Requests so far.
    pub(super) fn asked(&self) -> usize {
        self.asked.load(SeqCst)
    }
}

/// One request; the other end sees to it that it ends.
async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &Mutex<Answer>, asked: &AtomicUsize) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    asked.fetch_add(1, SeqCst);
    let head = String::from_utf8(head).unwrap();
    assert!(head.contains("\r\nhost: 127.0.0.1:") && !head.to_lowercase().contains("authorization"), "{head}");
    let answer = answer.lock().unwrap().clone();
    let endless = matches!(answer, Answer::Endless);
    let body = |body: &str| format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let text = match answer {
        Answer::Redirect(_, text) if head.starts_with("GET /keys ") => body(&text),
        Answer::Redirect(to, _) => format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n"),
        Answer::Body(text) => body(&text),
        Answer::Status(status) => format!("HTTP/1.1 {status} x\r\ncontent-length: 2\r\n\r\n{{}}"),
        Answer::Silence => String::new(),
        Answer::Stall => "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n".to_owned(),
        Answer::Endless => "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_owned(),
        Answer::Long(length) => format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{}", " ".repeat(length)),
        Answer::Garbage => "220 mail.example ESMTP\r\n\r\n".to_owned(),
        Answer::Short => {
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"keys\":[]}").await);
            return;
        }
    };
    if stream.write_all(text.as_bytes()).await.is_err() {
        return;
    }
    while endless && stream.write_all(b"8\r\n        \r\n").await.is_ok() {}
    let mut rest = Vec::new();
    drop(stream.read_to_end(&mut rest).await); // until the other end closes
}
