// SPDX-License-Identifier: GPL-3.0-or-later
// reqwest over HTTP/2 (see ../README.md for the plan).
use base64::{engine::general_purpose::STANDARD, Engine};
use reqwest::{Certificate, Client, Identity, Method};
use std::error::Error;

const AT_ONCE: usize = 10;

struct Request {
    name: String,
    method: String,
    path: String,
    body: Option<Vec<u8>>,
    mode: String,
    fields: Vec<(String, String)>,
}

fn read_plan(path: &str) -> Vec<Request> {
    let text = std::fs::read_to_string(path).expect("the plan can be read");
    text.lines()
        .map(|line| {
            let mut columns = line.split('\t').map(str::to_owned);
            let mut next = || columns.next().expect("a column of the plan");
            let (name, method, path, body, mode) = (next(), next(), next(), next(), next());
            let body = (body != "-").then(|| std::fs::read(&body).expect("a body can be read"));
            let fields = columns
                .map(|field| {
                    let (name, value) = field.split_once(": ").expect("a field");
                    (name.to_owned(), value.to_owned())
                })
                .collect();
            Request { name, method, path, body, mode, fields }
        })
        .collect()
}

async fn send(client: &Client, base: &str, request: &Request) -> Result<String, reqwest::Error> {
    let method = Method::from_bytes(request.method.as_bytes()).expect("a method");
    let mut builder = client.request(method, format!("{base}{}", request.path));
    for (name, value) in &request.fields {
        builder = builder.header(name, value);
    }
    if let Some(body) = &request.body {
        builder = builder.body(body.clone());
    }
    let response = builder.send().await?;
    let version = format!("{:?}", response.version());
    let version = version.trim_start_matches("HTTP/").trim_end_matches(".0").to_owned();
    let mut columns = vec![request.name.clone(), version, response.status().as_u16().to_string()];
    let fields: Vec<String> = response
        .headers()
        .iter()
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    let body = if request.mode == "cancel" { Vec::new() } else { response.bytes().await?.to_vec() };
    columns.push(STANDARD.encode(body));
    columns.extend(fields);
    Ok(columns.join("\t"))
}

async fn run(client: &Client, base: &str, request: &Request) {
    match send(client, base, request).await {
        Ok(line) => println!("{line}"),
        Err(error) => {
            let mut text = error.to_string();
            let mut source = error.source();
            while let Some(cause) = source {
                text += &format!(": {cause}");
                source = cause.source();
            }
            println!("{}\terror\t{}", request.name, text.replace(['\t', '\n'], " "));
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    rustls::crypto::ring::default_provider().install_default().expect("the first one");
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [plan, base, ca, cert, key] = arguments.as_slice() else {
        return Err("usage: client PLAN BASE CA CERT KEY".into());
    };
    let mut builder = Client::builder()
        .use_rustls_tls()
        .tls_built_in_root_certs(false)
        .add_root_certificate(Certificate::from_pem(&std::fs::read(ca)?)?)
        .no_proxy();
    if cert != "-" {
        let mut pem = std::fs::read(cert)?;
        pem.extend(std::fs::read(key)?);
        builder = builder.identity(Identity::from_pem(&pem)?);
    }
    let client = builder.build()?;
    for request in read_plan(plan) {
        let count = if request.mode == "parallel" { AT_ONCE } else { 1 };
        futures::future::join_all((0..count).map(|_| run(&client, base, &request))).await;
    }
    Ok(())
}
