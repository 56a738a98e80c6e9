// SPDX-License-Identifier: GPL-3.0-or-later
//! kube (see ../../../README.md for the scenario).
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{AttachParams, DeleteParams, ListParams, LogParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

type Failure = Box<dyn std::error::Error>;

async fn execute(pods: &Api<Pod>, pod: &str) -> Result<(), Failure> {
    let parameters = AttachParams::default().container("main").stdin(true).stdout(true).stderr(true);
    let command = ["sh", "-c", "read x; echo \"got $x\"; echo bad >&2; exit 3"];
    let mut running = pods.exec(pod, command, &parameters).await?;
    let mut input = running.stdin().ok_or("no stdin")?;
    let mut output = running.stdout().ok_or("no stdout")?;
    let mut errors = running.stderr().ok_or("no stderr")?;
    let status = running.take_status().ok_or("no status")?;
    input.write_all(b"hello\n").await?;
    let (mut out, mut err) = (String::new(), String::new());
    let (read_out, read_err) = futures::join!(output.read_to_string(&mut out), errors.read_to_string(&mut err));
    read_out?;
    read_err?;
    let causes = status.await.and_then(|status| status.details).and_then(|details| details.causes).unwrap_or_default();
    let code = causes.iter().find(|cause| cause.reason.as_deref() == Some("ExitCode")).and_then(|cause| cause.message.clone());
    println!("exec out {}", out.trim());
    println!("exec err {}", err.trim());
    println!("exec code {}", code.unwrap_or_else(|| "0".into()));
    Ok(())
}

async fn watch(objects: &Api<ConfigMap>, name: &str, version: &str) -> Result<(), Failure> {
    let parameters = WatchParams::default().fields(&format!("metadata.name={name}")).timeout(20);
    let mut events = objects.watch(&parameters, version).await?.boxed();
    while let Some(event) = events.try_next().await? {
        let (kind, object) = match event {
            WatchEvent::Added(object) => ("ADDED", object),
            WatchEvent::Modified(object) => ("MODIFIED", object),
            WatchEvent::Deleted(object) => ("DELETED", object),
            WatchEvent::Bookmark(_) => continue,
            WatchEvent::Error(error) => return Err(format!("{error:?}").into()),
        };
        let value = object.data.unwrap_or_default().remove("k").unwrap_or_default();
        println!("watch {kind} {} {value}", object.metadata.name.unwrap_or_default());
        if kind == "DELETED" {
            break;
        }
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kubeconfig, namespace, pod, name] = arguments.as_slice() else {
        return Err("KUBECONFIG NAMESPACE POD NAME".into());
    };
    let config = Config::from_custom_kubeconfig(Kubeconfig::read_from(kubeconfig)?, &KubeConfigOptions::default()).await?;
    let client = Client::try_from(config)?;
    let objects: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let pods: Api<Pod> = Api::namespaced(client, namespace);

    let listed = objects.list(&ListParams::default().labels("scenario=there")).await?;
    let mut names: Vec<String> = listed.items.into_iter().filter_map(|object| object.metadata.name).collect();
    names.sort();
    println!("list {}", names.join(","));
    if let Err(kube::Error::Api(status)) = objects.get("not-there").await {
        println!("missing {}", status.code);
    }

    let version = objects.list(&ListParams::default()).await?.metadata.resource_version.unwrap_or_default();
    let object: ConfigMap = serde_json::from_value(serde_json::json!({"metadata": {"name": name}, "data": {"k": "v"}}))?;
    objects.create(&PostParams::default(), &object).await?;
    objects.patch(name, &PatchParams::default(), &Patch::Merge(serde_json::json!({"data": {"k": "w"}}))).await?;
    objects.delete(name, &DeleteParams::default()).await?;
    watch(&objects, name, &version).await?;

    execute(&pods, pod).await?;
    if let Err(error) = execute(&pods, "not-there").await {
        println!("exec missing {error}");
    }
    let parameters = LogParams { container: Some("main".into()), ..LogParams::default() };
    println!("log {}", pods.logs(pod, &parameters).await?.trim());
    Ok(())
}
