//! The source against git's own HTTP server (git-http-backend(1)), where git is installed.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    thread,
};

use super::*;
use crate::secret::Secret;

/// What a request must carry: `oauth2:s3cr3t`.
const BASIC: &str = "authorization: basic b2f1dggyonmzy3izda==";

/// Whether git is installed; what needs it says so when it is left out.
fn has_git() -> bool {
    let found = Command::new("git").args(["http-backend"]).stdin(Stdio::null()).output().is_ok();
    if !found {
        eprintln!("left out: git is not installed");
    }
    found
}

/// Serves the bare repositories of a folder; the thread ends with the test's process.
fn serve(folder: &Path) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let folder = folder.to_owned();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let folder = folder.clone();
            thread::spawn(move || answer(stream, &folder));
        }
    });
    port
}

/// One request: HTTP in, CGI (RFC 3875), HTTP out, and the connection is closed.
fn answer(mut stream: TcpStream, folder: &Path) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let header = |name: &str| {
        lines.iter().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then(|| value.to_owned())
        })
    };
    let mut body = Vec::new();
    if let Some(length) = header("content-length") {
        body = vec![0; length.parse().ok()?];
        reader.read_exact(&mut body).ok()?;
    } else if header("transfer-encoding").is_some() {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size).ok()?;
            let size = usize::from_str_radix(size.trim(), 16).ok()?;
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk).ok()?;
            if size == 0 {
                break;
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }
    if !lines.iter().any(|line| line.to_ascii_lowercase() == BASIC) {
        let refusal = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"git\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        return stream.write_all(refusal.as_bytes()).ok();
    }
    let mut request = lines.first()?.split(' ');
    let (method, target) = (request.next()?, request.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut child = Command::new("git")
        .args(["-c", "http.receivepack=true", "http-backend"])
        .env("GIT_PROJECT_ROOT", folder)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", method)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("CONTENT_TYPE", header("content-type").unwrap_or_default())
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("REMOTE_USER", "oauth2")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    child.stdin.take()?.write_all(&body).ok()?;
    let output = child.wait_with_output().ok()?.stdout;
    let end = output.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&output[..end]).into_owned();
    let status =
        head.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK").to_owned();
    let body = &output[end + 4..];
    let head = format!(
        "HTTP/1.1 {status}\r\n{head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body).ok()
}

/// A bare repository behind the server, with one commit.
fn hosted() -> (TempDir, Place, SourceOptions) {
    let folder = TempDir::new().unwrap();
    let place = Place::new();
    let bare = folder.path().join("site.git");
    init_bare_repository(&bare).unwrap();
    let repository = place.repository();
    let mut remote = repository.remote_anonymous(bare.to_str().unwrap()).unwrap();
    let branch = repository.head().unwrap().name().unwrap().to_owned();
    remote.push(&[format!("{branch}:refs/heads/main")], None).unwrap();
    let port = serve(folder.path());
    let url = format!("http://127.0.0.1:{port}/site.git");
    let credentials = Credentials { token: Secret::new("s3cr3t"), ..Credentials::default() };
    let options = SourceOptions { url, credentials, ..place.options() };
    (folder, place, options)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_read_and_written_with_a_token() {
    if !has_git() {
        return;
    }
    let (_folder, place, options) = hosted();
    let source = Source::open(options.clone()).unwrap();
    let head = source.fetch(None).await.unwrap();
    assert_eq!(paths(&source.snapshot(&head.revision.commit).await.unwrap()), ["site.yaml"]);

    let append = |name: &str, content: &str| Append {
        branch: "tidegate/approvals".to_owned(),
        files: vec![(format!("{name}.yaml"), content.as_bytes().to_vec())],
        message: name.to_owned(),
        by: who("Li Na"),
        at: at(0),
        may_replace: false,
    };
    let first = source.append(append("a", "yes")).await.unwrap();
    assert_eq!(source.append(append("a", "yes")).await.unwrap(), first);
    let refused = source.append(append("a", "no")).await.unwrap_err();
    assert_eq!(refused.code(), "SOURCE/FILE_EXISTS");

    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..4 {
        let cache = place.folder.path().join(format!("cache-{number}"));
        let source = Source::open(SourceOptions { cache, ..options.clone() }).unwrap();
        let what = append(&number.to_string(), "yes");
        tasks.spawn(async move { source.append(what).await });
    }
    while let Some(outcome) = tasks.join_next().await {
        outcome.unwrap().unwrap();
    }
    source.fetch(None).await.unwrap();
    let approvals = source.approvals().await.unwrap();
    assert_eq!((approvals.files.len(), &approvals.findings), (5, &Vec::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_are_taken_back_on_a_server() {
    if !has_git() {
        return;
    }
    let (folder, place, options) = hosted();
    let good = place.repository().head().unwrap().target().unwrap().to_string();
    place.write("site.yaml", "kind: Site\nbroken\n");
    let bad = place.commit("bad");
    let bare = folder.path().join("site.git");
    let repository = place.repository();
    let branch = repository.head().unwrap().name().unwrap().to_owned();
    let mut remote = repository.remote_anonymous(bare.to_str().unwrap()).unwrap();
    remote.push(&[format!("{branch}:refs/heads/main")], None).unwrap();
    let source = Source::open(options).unwrap();
    source.fetch(None).await.unwrap();
    let revert = Revert {
        branch: "tidegate/revert/r2".to_owned(),
        onto: bad.clone(),
        from: bad,
        to: good,
        message: "revert: r2 was rolled back".to_owned(),
        by: who("tidegate"),
        at: at(9),
    };
    for _ in 0..2 {
        assert!(source.revert(revert.clone()).await.unwrap());
    }
    let served = Repository::open_bare(&bare).unwrap();
    assert_eq!(revert::text(&served, "site.yaml").as_deref(), Some("kind: Site\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_refuses_says_why_without_the_token() {
    if !has_git() {
        return;
    }
    let (folder, _place, options) = hosted();
    let with = |token: Option<&str>| {
        let credentials =
            Credentials { token: token.and_then(Secret::new), ..Credentials::default() };
        Source::open(SourceOptions { credentials, ..options.clone() }).unwrap()
    };
    for token in [None, Some("wr0ng")] {
        let error = with(token).fetch(None).await.unwrap_err();
        assert_eq!(error.code(), "SOURCE/CREDENTIALS_REFUSED", "{error:?}");
        assert!(!format!("{error:?} {:?}", error.finding()).contains("wr0ng"));
    }
    let url = options.url.replace("site.git", "gone.git");
    let gone = Source::open(SourceOptions { url, ..options.clone() }).unwrap();
    assert_eq!(gone.fetch(None).await.unwrap_err().code(), "SOURCE/NOT_A_REPOSITORY");

    let hook = folder.path().join("site.git/hooks/pre-receive");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, "#!/bin/sh\nexit 1\n").unwrap();
    fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let append = Append {
        branch: "tidegate/approvals".to_owned(),
        files: vec![("a.yaml".to_owned(), b"yes".to_vec())],
        message: "a".to_owned(),
        by: who("Li Na"),
        at: at(0),
        may_replace: false,
    };
    let error = with(Some("s3cr3t")).append(append).await.unwrap_err();
    assert_eq!(error.code(), "SOURCE/PUSH_REFUSED", "{error:?}");
    assert!(error.finding().args["reason"].contains("pre-receive"), "{error:?}");
}
