//! A server that replays recorded exchanges, and a way to run commands.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread::JoinHandle;

use netlog_cli::error::Exit;
use netlog_cli::{Streams, Terminal, run};
use serde_json::Value;

/// What a command did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) exit: Exit,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs `netlog ARGS…`, started from no terminal.
pub(crate) fn netlog<S: AsRef<str>>(args: impl IntoIterator<Item = S>) -> Outcome {
    netlog_with(None, b"", args)
}

/// Runs `netlog ARGS…`, started from `terminal`, with `stdin` to read.
pub(crate) fn netlog_with<S: AsRef<str>>(
    terminal: Option<Terminal>,
    mut stdin: &[u8],
    args: impl IntoIterator<Item = S>,
) -> Outcome {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let args = args.into_iter().map(|arg| arg.as_ref().into());
    let exit = run(
        std::iter::once("netlog".into()).chain(args),
        &mut Streams {
            stdin: &mut stdin,
            stdout: &mut stdout,
            stderr: &mut stderr,
            terminal,
        },
    );
    Outcome {
        exit,
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    }
}

/// A request as it arrived.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) line: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<Value>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// An answer to give.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u64,
    pub(crate) request_id: Option<String>,
    pub(crate) body: Option<String>,
}

impl Answer {
    pub(crate) fn json(body: &Value) -> Self {
        Self {
            status: 200,
            request_id: None,
            body: Some(body.to_string()),
        }
    }
}

/// A server that gives its answers in turn, and errors when they are used up.
pub(crate) struct Server {
    pub(crate) endpoint: String,
    /// Connects and goes, which ends the server.
    hang_up: Box<dyn Fn()>,
    thread: JoinHandle<Vec<Request>>,
}

impl Server {
    pub(crate) fn on_tcp(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        Self {
            endpoint: format!("http://{address}"),
            hang_up: Box::new(move || drop(TcpStream::connect(address))),
            thread: std::thread::spawn(move || serve(answers, || listener.accept().unwrap().0)),
        }
    }

    pub(crate) fn on_unix(path: &Path, answers: Vec<Answer>) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let path = path.to_owned();
        Self {
            endpoint: format!("unix:{}", path.display()),
            hang_up: Box::new(move || drop(UnixStream::connect(&path))),
            thread: std::thread::spawn(move || serve(answers, || listener.accept().unwrap().0)),
        }
    }

    /// Stops, and tells the requests that came.
    pub(crate) fn requests(self) -> Vec<Request> {
        (self.hang_up)();
        self.thread.join().unwrap()
    }
}

fn serve<S: Read + Write>(answers: Vec<Answer>, accept: impl Fn() -> S) -> Vec<Request> {
    let mut answers = answers.into_iter();
    let mut requests = Vec::new();
    while let Some(request) = exchange(accept(), &mut answers) {
        requests.push(request);
    }
    requests
}

/// Reads one request, if one comes, and answers it; the connection ends there.
fn exchange(
    stream: impl Read + Write,
    answers: &mut impl Iterator<Item = Answer>,
) -> Option<Request> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    if stream.read_line(&mut line).unwrap() == 0 {
        return None;
    }
    let answer = answers.next().unwrap_or_else(|| Answer {
        status: 500,
        request_id: None,
        body: Some("{\"message\": \"no answer is left\"}".to_owned()),
    });
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        stream.read_line(&mut header).unwrap();
        let Some((name, value)) = header.trim_end().split_once(':') else {
            break;
        };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let mut request = Request {
        line: line.trim_end().trim_end_matches(" HTTP/1.1").to_owned(),
        headers,
        body: None,
    };
    if let Some(length) = request.header("content-length") {
        let mut body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut body).unwrap();
        request.body = Some(serde_json::from_slice(&body).unwrap());
    }
    let body = answer.body.as_deref().unwrap_or_default();
    let id = answer.request_id.as_ref().map_or(String::new(), |id| {
        format!("X-Openstack-Request-Id: {id}\r\n")
    });
    let length = if answer.status == 204 {
        String::new()
    } else {
        format!("Content-Length: {}\r\n", body.len())
    };
    write!(
        stream.get_mut(),
        "HTTP/1.1 {} x\r\nContent-Type: application/json\r\n{id}{length}Connection: close\r\n\r\n{body}",
        answer.status
    )
    .unwrap();
    Some(request)
}
