//! The client's side of SCRAM-SHA-256 (RFC 5802), so that a bare connection can log in.

use anyhow::{Context, Result, ensure};
use base64::prelude::{BASE64_STANDARD, Engine};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

pub struct Exchange {
    password: String,
    first_bare: String,
    nonce: String,
    server_signature: Vec<u8>,
}

impl Exchange {
    /// Returns the exchange and the first message.
    pub fn begin(user: &str, password: &str) -> (Self, String) {
        let nonce = BASE64_STANDARD.encode(rand::random::<[u8; 18]>());
        let first_bare = format!("n={user},r={nonce}");
        let message = format!("n,,{first_bare}");
        (Self { password: password.to_owned(), first_bare, nonce, server_signature: Vec::new() }, message)
    }

    /// Answers the server's first message with the proof.
    pub fn prove(&mut self, challenge: &str) -> Result<String> {
        let field = |name: &str| {
            challenge.split(',').find_map(|part| part.strip_prefix(name)).context("the challenge lacks a field")
        };
        let nonce = field("r=")?;
        ensure!(nonce.starts_with(&self.nonce), "the server's nonce does not extend ours");
        let salt = BASE64_STANDARD.decode(field("s=")?)?;
        let salted = pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(self.password.as_bytes(), &salt, field("i=")?.parse()?);
        let client_key = mac(&salted, b"Client Key");
        let without_proof = format!("c=biws,r={nonce}");
        let message = format!("{},{challenge},{without_proof}", self.first_bare);
        let signature = mac(&Sha256::digest(&client_key), message.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(key, sign)| key ^ sign).collect();
        self.server_signature = mac(&mac(&salted, b"Server Key"), message.as_bytes());
        Ok(format!("{without_proof},p={}", BASE64_STANDARD.encode(proof)))
    }

    /// Checks that the server knew the password too.
    pub fn finish(&self, last: &str) -> Result<()> {
        ensure!(
            last == format!("v={}", BASE64_STANDARD.encode(&self.server_signature)),
            "the server's proof is wrong: {last}"
        );
        Ok(())
    }
}

fn mac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}
