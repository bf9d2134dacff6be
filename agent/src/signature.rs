//! Signatures of approvals and commits: SSHSIG, made with the approver's ordinary SSH or hardware key.
//!
//! The only place that names ssh-key. The format is OpenSSH's PROTOCOL.sshsig: what is signed holds
//! the hash of the message and a namespace, so a signature made for one purpose is worth nothing
//! for another. Keys that live in hardware, behind a passphrase or in an SSH agent are used through
//! the `ssh-keygen` program, which asks the person for what it needs.

use std::{fmt, io, path::Path};

use ssh_key::{
    Algorithm, HashAlg, LineEnding, PrivateKey, PublicKey, SshSig, public::KeyData,
    rand_core::OsRng,
};
use tokio::process::Command;

/// What approvals are signed for.
pub const APPROVAL_NAMESPACE: &str = "tidegate-approval";

/// What git signs commits for (git-config(1), `gpg.format=ssh`).
pub const COMMIT_NAMESPACE: &str = "git";

/// The smallest RSA key that counts, in bits (NIST SP 800-131A).
const RSA_BITS: usize = 2048;

/// Why something was not signed, or a signature does not count.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The private key can not be read.
    #[error("failed to read the private key")]
    PrivateKey(#[source] ssh_key::Error),
    /// The public key can not be read.
    #[error("failed to read the public key")]
    PublicKey(#[source] ssh_key::Error),
    /// The key is not in the file: it is in hardware, or behind a passphrase.
    #[error("failed to sign with {0}: only ssh-keygen can use it")]
    NeedsProgram(String),
    /// A key that is too weak to count.
    #[error("failed to accept the key: {0}")]
    Weak(String),
    /// The signature can not be read.
    #[error("failed to read the signature")]
    Signature(#[source] ssh_key::Error),
    /// The signature is of another purpose.
    #[error("failed to accept the signature: it was made for {found}, not for {expected}")]
    Namespace {
        /// What it was made for.
        found: String,
        /// What it must be made for.
        expected: String,
    },
    /// The signature is good, but by a key that nobody has named.
    #[error("failed to find the key {0} among those that are allowed")]
    UnknownKey(KeyFingerprint),
    /// The signature is not of these bytes.
    #[error("failed to verify the signature of {key}")]
    Invalid {
        /// The key that it claims to be of.
        key: KeyFingerprint,
        /// What the library said.
        source: ssh_key::Error,
    },
    /// Signing failed.
    #[error("failed to sign")]
    Sign(#[source] ssh_key::Error),
    /// The program is not installed or can not be started.
    #[error("failed to run ssh-keygen")]
    Program(#[source] io::Error),
    /// The program refused.
    #[error("failed to sign with ssh-keygen: {0}")]
    ProgramRefused(String),
}

/// The SHA-256 fingerprint of a key, as `ssh-keygen -l` shows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyFingerprint(String);

impl KeyFingerprint {
    /// The text, such as `SHA256:…`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn of(key: &KeyData) -> Self {
        Self(key.fingerprint(HashAlg::Sha256).to_string())
    }
}

impl fmt::Display for KeyFingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A public key as `ssh-ed25519 AAAA… comment`: a line of `~/.ssh/*.pub`, and of a `Person`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKeyLine(PublicKey);

impl PublicKeyLine {
    /// Reads a line, and refuses keys that are too weak to count: DSA, and RSA below 2,048 bits.
    pub fn parse(line: &str) -> Result<Self, Error> {
        let key = PublicKey::from_openssh(line.trim()).map_err(Error::PublicKey)?;
        strong(key.key_data())?;
        Ok(Self(key))
    }

    /// What tells this key from others.
    pub fn fingerprint(&self) -> KeyFingerprint {
        KeyFingerprint::of(self.0.key_data())
    }
}

/// A new key pair.
#[derive(Clone)]
pub struct KeyPair {
    /// The private key in OpenSSH's form, without a passphrase.
    pub private: crate::secret::Secret,
    /// The public key as one line.
    pub public: String,
}

/// Makes an Ed25519 key: for the demo, and for service accounts that sign.
pub fn generate_key(comment: &str) -> Result<KeyPair, Error> {
    let mut key = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).map_err(Error::PrivateKey)?;
    key.set_comment(comment);
    let private = key.to_openssh(LineEnding::LF).map_err(Error::PrivateKey)?;
    let private = crate::secret::Secret::new(&private)
        .ok_or(Error::PrivateKey(ssh_key::Error::FormatEncoding))?;
    let public = key.public_key().to_openssh().map_err(Error::PublicKey)?;
    Ok(KeyPair { private, public })
}

/// Signs an approval with a private key in OpenSSH's form. Keys behind a passphrase, hardware keys
/// and RSA keys give [`Error::NeedsProgram`]: use [`sign_with_program`].
pub fn sign(message: &[u8], private_key: &str) -> Result<String, Error> {
    sign_for(APPROVAL_NAMESPACE, message, &usable(private_key)?)
}

/// Signs commits with a private key in OpenSSH's form, as git does with `gpg.format=ssh`.
#[derive(Clone)]
pub struct CommitKey(PrivateKey);

impl fmt::Debug for CommitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CommitKey").field(&self.0.fingerprint(HashAlg::Sha256)).finish()
    }
}

impl CommitKey {
    /// Takes a key that can sign without anybody's help.
    pub fn new(private_key: &str) -> Result<Self, Error> {
        usable(private_key).map(Self)
    }

    /// The signature of a commit, which is given without one.
    pub fn sign(&self, payload: &[u8]) -> Result<String, Error> {
        sign_for(COMMIT_NAMESPACE, payload, &self.0)
    }
}

fn sign_for(namespace: &str, message: &[u8], key: &PrivateKey) -> Result<String, Error> {
    let signature = key.sign(namespace, HashAlg::Sha512, message).map_err(Error::Sign)?;
    signature.to_pem(LineEnding::LF).map_err(Error::Sign)
}

/// A private key that this process can sign with.
fn usable(private_key: &str) -> Result<PrivateKey, Error> {
    let key = PrivateKey::from_openssh(with_line_end(private_key)).map_err(Error::PrivateKey)?;
    strong(key.public_key().key_data())?;
    // RSA in this process could leak the key through timing (RUSTSEC-2023-0071), so it is left
    // to OpenSSH.
    let is_elsewhere = matches!(
        key.algorithm(),
        Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256 | Algorithm::Rsa { .. }
    );
    if is_elsewhere || key.is_encrypted() {
        return Err(Error::NeedsProgram(KeyFingerprint::of(key.public_key().key_data()).0));
    }
    Ok(key)
}

/// Signs an approval with `ssh-keygen -Y sign`, which uses hardware keys, the SSH agent (when `key`
/// is a public key) and passphrases. It asks on the terminal and may wait for a touch.
pub async fn sign_with_program(message: &[u8], key: &Path) -> Result<String, Error> {
    use tokio::io::AsyncWriteExt as _;

    let mut child = Command::new("ssh-keygen")
        .args(["-Y", "sign", "-q", "-n", APPROVAL_NAMESPACE, "-f"])
        .arg(key)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(Error::Program)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends before it has read says why on its standard error.
        let _unread = stdin.write_all(message).await;
    }
    let output = child.wait_with_output().await.map_err(Error::Program)?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Error::ProgramRefused(reason));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Signs an approval with the key in a file, by whichever way the key needs.
pub async fn sign_with_file(message: &[u8], key: &Path) -> Result<String, Error> {
    let text = tokio::fs::read_to_string(key).await.map_err(Error::Program)?;
    if !text.contains("BEGIN OPENSSH PRIVATE KEY") {
        return sign_with_program(message, key).await;
    }
    match sign(message, &text) {
        Err(Error::NeedsProgram(_)) => sign_with_program(message, key).await,
        outcome => outcome,
    }
}

/// Verifies the signature of an approval, and says whose key made it. A signature by a key that is
/// not allowed is refused however good it is.
pub fn verify(
    message: &[u8],
    signature: &str,
    allowed: &[PublicKeyLine],
) -> Result<KeyFingerprint, Error> {
    verify_for(APPROVAL_NAMESPACE, message, signature, allowed)
}

/// Verifies the SSH signature of a commit. `payload` is the commit without its signature, as
/// `Source::commit_signature` gives it. An `OpenPGP` signature is [`Error::Signature`].
pub fn verify_commit(
    payload: &[u8],
    signature: &str,
    allowed: &[PublicKeyLine],
) -> Result<KeyFingerprint, Error> {
    verify_for(COMMIT_NAMESPACE, payload, signature, allowed)
}

fn verify_for(
    namespace: &str,
    message: &[u8],
    signature: &str,
    allowed: &[PublicKeyLine],
) -> Result<KeyFingerprint, Error> {
    let signature = SshSig::from_pem(with_line_end(signature)).map_err(Error::Signature)?;
    if signature.namespace() != namespace {
        return Err(Error::Namespace {
            found: signature.namespace().to_owned(),
            expected: namespace.to_owned(),
        });
    }
    let claimed = KeyFingerprint::of(signature.public_key());
    let key = allowed
        .iter()
        .find(|key| key.0.key_data() == signature.public_key())
        .ok_or_else(|| Error::UnknownKey(claimed.clone()))?;
    strong(key.0.key_data())?;
    // An RSA key signs with SHA-1 under its old name; only the SHA-2 names count (RFC 8332).
    if matches!(signature.algorithm(), Algorithm::Rsa { hash: None } | Algorithm::Dsa) {
        return Err(Error::Weak("the signature uses SHA-1".to_owned()));
    }
    key.0
        .verify(namespace, message, &signature)
        .map_err(|source| Error::Invalid { key: claimed.clone(), source })?;
    Ok(claimed)
}

/// Whether a key is strong enough to count.
fn strong(key: &KeyData) -> Result<(), Error> {
    if key.is_dsa() {
        return Err(Error::Weak("DSA keys are too weak".to_owned()));
    }
    let Some(rsa) = key.rsa() else { return Ok(()) };
    let bits = rsa.n.as_positive_bytes().map_or(0, bits);
    if bits < RSA_BITS {
        return Err(Error::Weak(format!("an RSA key of {bits} bits is too weak")));
    }
    Ok(())
}

/// The number of bits of a big-endian number without leading zeros.
fn bits(number: &[u8]) -> usize {
    let leading = number.first().map_or(0, |first| first.leading_zeros() as usize);
    (number.len() * 8).saturating_sub(leading)
}

/// The parsers want a line feed at the end, which [`crate::secret::Secret`] and many editors drop.
fn with_line_end(text: &str) -> String {
    format!("{}\n", text.trim())
}

#[cfg(test)]
mod tests;
