//! Signatures by ourselves and by OpenSSH, each verified by the other.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    process::{Command, Stdio},
};

use tempfile::TempDir;

use super::*;

const MESSAGE: &[u8] = b"{\"plan\":\"sha256:9f3c\"}";

fn pair() -> (KeyPair, PublicKeyLine) {
    let pair = generate_key("li-na").unwrap();
    let line = PublicKeyLine::parse(&pair.public).unwrap();
    (pair, line)
}

/// Whether OpenSSH is installed; what needs it says so when it is left out.
fn has_ssh_keygen() -> bool {
    let found = Command::new("ssh-keygen").arg("-?").output().is_ok();
    if !found {
        eprintln!("left out: ssh-keygen is not installed");
    }
    found
}

fn ssh_keygen(args: &[&str], stdin: &[u8]) -> (bool, String) {
    let mut child = Command::new("ssh-keygen")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(stdin).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[test]
fn a_signature_names_its_key() {
    let (key, line) = pair();
    let (_, other) = pair();
    let signature = sign(MESSAGE, key.private.expose()).unwrap();
    assert_eq!(verify(MESSAGE, &signature, &[other, line.clone()]).unwrap(), line.fingerprint());
}

#[test]
fn an_edited_message_is_refused() {
    let (key, line) = pair();
    let signature = sign(MESSAGE, key.private.expose()).unwrap();
    let error = verify(b"{\"plan\":\"sha256:9f3d\"}", &signature, &[line]).unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
}

#[test]
fn a_key_that_nobody_named_is_refused() {
    let (key, line) = pair();
    let (_, other) = pair();
    let signature = sign(MESSAGE, key.private.expose()).unwrap();
    let error = verify(MESSAGE, &signature, &[other]).unwrap_err();
    assert!(
        matches!(&error, Error::UnknownKey(found) if *found == line.fingerprint()),
        "{error:?}"
    );
    assert!(matches!(verify(MESSAGE, &signature, &[]), Err(Error::UnknownKey(_))));
}

#[test]
fn a_signature_for_another_purpose_is_refused() {
    let (key, line) = pair();
    let signature = sign(MESSAGE, key.private.expose()).unwrap();
    let error = verify_commit(MESSAGE, &signature, std::slice::from_ref(&line)).unwrap_err();
    assert!(matches!(error, Error::Namespace { .. }), "{error:?}");
    let private = PrivateKey::from_openssh(with_line_end(key.private.expose())).unwrap();
    let commit = private.sign("git", HashAlg::Sha256, MESSAGE).unwrap();
    let commit = commit.to_pem(LineEnding::LF).unwrap();
    assert!(matches!(
        verify(MESSAGE, &commit, std::slice::from_ref(&line)),
        Err(Error::Namespace { .. })
    ));
    assert_eq!(
        verify_commit(MESSAGE, &commit, std::slice::from_ref(&line)).unwrap(),
        line.fingerprint()
    );
}

#[test]
fn what_is_no_signature_is_refused() {
    let (_, line) = pair();
    for text in ["", "-----BEGIN PGP SIGNATURE-----\n\n-----END PGP SIGNATURE-----", "\u{0}"] {
        let refused = verify(MESSAGE, text, std::slice::from_ref(&line));
        assert!(matches!(refused, Err(Error::Signature(_))));
    }
}

#[test]
fn a_private_key_is_never_shown() {
    let (key, _) = pair();
    assert_eq!(format!("{:?}", key.private), "Secret(…)");
    let error = sign(MESSAGE, "-----BEGIN OPENSSH PRIVATE KEY-----\ns3cr3t").unwrap_err();
    assert!(!format!("{error} {error:?}").contains("s3cr3t"));
}

#[test]
fn openssh_takes_our_signatures() {
    if !has_ssh_keygen() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let (key, _) = pair();
    let [signature, allowed] = ["a.sig", "allowed"].map(|name| folder.path().join(name));
    fs::write(&signature, sign(MESSAGE, key.private.expose()).unwrap()).unwrap();
    fs::write(&allowed, format!("li-na {}\n", key.public)).unwrap();
    let verify = |message: &[u8]| {
        let (allowed, signature) = (allowed.to_str().unwrap(), signature.to_str().unwrap());
        let args = [
            "-Y",
            "verify",
            "-n",
            "tidegate-approval",
            "-I",
            "li-na",
            "-f",
            allowed,
            "-s",
            signature,
        ];
        ssh_keygen(&args, message)
    };
    assert!(verify(MESSAGE).0, "{:?}", verify(MESSAGE));
    assert!(!verify(b"edited").0);
}

#[tokio::test]
async fn we_take_openssh_signatures_of_every_usual_kind_of_key() {
    if !has_ssh_keygen() {
        return;
    }
    let folder = TempDir::new().unwrap();
    for (kind, bits) in [("ed25519", "256"), ("ecdsa", "256"), ("ecdsa", "384"), ("rsa", "2048")] {
        let path = folder.path().join(format!("{kind}-{bits}"));
        let file = path.to_str().unwrap();
        let made =
            ssh_keygen(&["-q", "-t", kind, "-b", bits, "-N", "", "-C", "li-na", "-f", file], b"");
        assert!(made.0, "{made:?}");
        let line =
            PublicKeyLine::parse(&fs::read_to_string(format!("{file}.pub")).unwrap()).unwrap();
        let allowed = std::slice::from_ref(&line);
        let theirs = sign_with_program(MESSAGE, &path).await.unwrap();
        assert_eq!(verify(MESSAGE, &theirs, allowed).unwrap(), line.fingerprint());
        assert!(verify(b"edited", &theirs, allowed).is_err());
        let (_, shown) = ssh_keygen(&["-l", "-f", file], b"");
        assert!(shown.contains(line.fingerprint().as_str()), "{shown}");
        // RSA goes through the program, the others do not.
        let ours = sign_with_file(MESSAGE, &path).await.unwrap();
        assert_eq!(verify(MESSAGE, &ours, allowed).unwrap(), line.fingerprint());
        let direct = sign(MESSAGE, &fs::read_to_string(&path).unwrap());
        assert_eq!(matches!(direct, Err(Error::NeedsProgram(_))), kind == "rsa");
    }
}

#[test]
fn weak_and_encrypted_keys_are_told_apart() {
    if !has_ssh_keygen() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let [weak, locked] = ["weak", "locked"].map(|it| folder.path().join(it).display().to_string());
    assert!(ssh_keygen(&["-q", "-t", "rsa", "-b", "1024", "-N", "", "-f", &weak], b"").0);
    let line = fs::read_to_string(format!("{weak}.pub")).unwrap();
    assert!(matches!(PublicKeyLine::parse(&line), Err(Error::Weak(_))));
    assert!(ssh_keygen(&["-q", "-t", "ed25519", "-N", "passphrase", "-f", &locked], b"").0);
    let error = sign(MESSAGE, &fs::read_to_string(&locked).unwrap()).unwrap_err();
    assert!(matches!(error, Error::NeedsProgram(_)), "{error:?}");
}

#[tokio::test]
async fn a_refusal_of_the_program_is_told() {
    if !has_ssh_keygen() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("none");
    fs::write(&path, "no key").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let error = sign_with_file(MESSAGE, &path).await.unwrap_err();
    assert!(matches!(error, Error::ProgramRefused(_)), "{error:?}");
}

#[test]
fn bits_are_counted_without_leading_zeros() {
    assert_eq!(bits(&[0x80, 0]), 16);
    assert_eq!(bits(&[0x01, 0]), 9);
    assert_eq!(bits(&[]), 0);
}
