//! A place for Terraform's state that keeps it in memory, for terraform's `http` backend.
//!
//! On a local disk terraform writes the whole state after every resource, which for thousands of them takes longer than
//! anything that is to be measured. Nobody keeps that many resources there.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use anyhow::{Context, Result};

/// Serves one state until the process ends.
pub struct StateServer {
    address: SocketAddr,
}

impl StateServer {
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        std::thread::spawn(move || {
            let mut state = None;
            for stream in listener.incoming().flatten() {
                if let Err(error) = answer(stream, &mut state) {
                    eprintln!("the state server could not answer terraform: {error:#}");
                }
            }
        });
        Ok(Self { address })
    }

    /// The terraform block that keeps the state here.
    pub fn backend(&self) -> String {
        format!("terraform {{\n  backend \"http\" {{\n    address = \"http://{}/\"\n  }}\n}}\n", self.address)
    }
}

/// One request per connection: GET reads the state, POST replaces it.
fn answer(stream: TcpStream, state: &mut Option<Vec<u8>>) -> Result<()> {
    let mut reader = BufReader::new(&stream);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        match header.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.trim().parse()?,
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let method = first.split(' ').next().context("no method")?;
    if method == "POST" {
        *state = Some(body);
    }
    let (status, content) = match (method, state) {
        ("GET", None) => ("404 Not Found", &[][..]),
        ("GET", Some(state)) => ("200 OK", &state[..]),
        _ => ("200 OK", &[][..]),
    };
    let mut writer = &stream;
    write!(writer, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", content.len())?;
    Ok(writer.write_all(content)?)
}
