// SPDX-License-Identifier: GPL-3.0-or-later
// The one table of flags.
#include "flag.h"

namespace sluice::config {

namespace {

constexpr Bounds between(std::uint64_t low, std::uint64_t high) { return {low, high}; }
constexpr Bounds between(Duration low, Duration high) {
  return {nanoseconds(low), nanoseconds(high)};
}

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr std::uint64_t KiB = 1024;
constexpr std::uint64_t MiB = 1024 * KiB;
constexpr std::uint64_t GiB = 1024 * MiB;
constexpr std::uint64_t TiB = 1024 * GiB;
constexpr Bounds any_timeout = between(milliseconds(1), hours(24));
constexpr Bounds any_window = between(16 * KiB, 0x7fffffff);  // RFC 9113 section 6.9.1

}  // namespace

const std::vector<Group>& flag_table() {
  static const std::vector<Group> groups = {
      {"Clients",
       {
           {"listen", "ADDR:PORT", Scope::each, &ProcessConfig::listen,
            "Accept clients here. Repeatable; [::]:6443 takes IPv6 and IPv4, or IPv6 alone beside "
            "an IPv4 address with the same port. Who connects to an address in a cluster's file is "
            "that cluster's client, whatever name it asks for."},
           {"proxy-protocol-from", "CIDR", Scope::process, &ProcessConfig::proxy_protocol_from,
            "A network of balancers: each connection from there must begin with a PROXY header, "
            "version 1 or 2, and the client's address is the one that it names. Repeatable; an "
            "address alone is a network of one. From anywhere else such a header is not taken."},
           {"exempt-clients", "CIDR", Scope::process, &ProcessConfig::exempt_clients,
            "A network whose clients are not counted: neither their connections, nor their "
            "requests before a credential is proven, nor the work that they cause. Repeatable. "
            "Bytes are counted for everybody."},
           {"server-names", "NAMES", Scope::cluster, &ClusterConfig::server_names,
            "Names by which clients call the cluster (SNI): exact ones, and *.NAME for all with "
            "one "
            "label more. An exact name goes before a wildcard; a name is one cluster's alone. "
            "Without names, a process's only cluster takes everybody."},
           {"default", "WHOM", Scope::cluster, &ClusterConfig::default_for,
            "true: the cluster takes clients that send no name, as those that dial an address do; "
            "unknown: those, and those with a name that is no cluster's; false: neither. One "
            "cluster at most."},
           {"tls-cert-file", "FILE", Scope::cluster, &ClusterConfig::tls_cert_file,
            "PEM certificate that clients see, intermediates after it. Required."},
           {"tls-private-key-file", "FILE", Scope::cluster, &ClusterConfig::tls_private_key_file,
            "PEM private key of --tls-cert-file. Required."},
           {"client-ca-file", "FILE", Scope::cluster, &ClusterConfig::client_ca_file,
            "PEM certificates of the authorities whose client certificates name users; the same "
            "file as the API servers'. Without it, clients are not asked for certificates."},
           {"client-cert-strict", "", Scope::cluster, &ClusterConfig::client_cert_strict,
            "Answer a client certificate that does not verify with a TLS alert, instead of "
            "treating the client as one without a certificate."},
           {"anonymous-auth", "", Scope::cluster, &ClusterConfig::anonymous_auth,
            "As the API servers' flag. false: a request without a credential is answered with 401, "
            "whatever it asks for, and reaches no API server."},
           {"allowed-networks", "CIDR", Scope::cluster, &ClusterConfig::allowed_networks,
            "A network whose clients are served; to all others it is as if nobody had the "
            "cluster's names. Repeatable; an address alone is a network of one. Behind "
            "--proxy-protocol-from the address that the header names counts. Without it, clients "
            "come from anywhere."},
           {"tls-min-version", "VERSION", Scope::cluster, &ClusterConfig::tls_min_version,
            "Oldest version of TLS that clients may speak: 1.2 or 1.3, or as the API servers' flag "
            "has it, VersionTLS12 or VersionTLS13."},
           {"client-connections-max", "N", Scope::process, &ProcessConfig::client_connections_max,
            "Client connections at any moment, in all. 0: as many as the descriptor limit allows.",
            between(0, 16'000'000)},
           {"connections-per-address", "N", Scope::process, &ProcessConfig::connections_per_address,
            "Of them, from one address (IPv6: the first 64 bits); more are closed as soon as they "
            "are accepted. 0: any number.",
            between(0, 16'000'000)},
           {"connections-per-identity", "N", Scope::process,
            &ProcessConfig::connections_per_identity,
            "Of these, with client certificates of the same user; more are told to go after their "
            "handshakes. 0: any number.",
            between(0, 16'000'000)},
           {"client-idle-timeout", "DURATION", Scope::process, &ProcessConfig::client_idle_timeout,
            "Close a client connection that has had no stream for this long.", any_timeout},
           {"client-silence-timeout", "DURATION", Scope::process,
            &ProcessConfig::client_silence_timeout,
            "A client with a watch, a tunnel or another long-running request has vanished when "
            "nothing came from it for this long, not even an acknowledgement, though it was asked "
            "(HTTP/2: by a PING). One that stands still and whose machine answers has not. 0s: it "
            "is not looked for; TCP's own keep-alive remains.",
            between(Duration::zero(), hours(24))},
           {"client-stall-timeout", "DURATION", Scope::process,
            &ProcessConfig::client_stall_timeout,
            "Close a connection that takes none of the bytes waiting for it for this long, and "
            "reset a stream that takes less than 1KiB. A watch or another long-running request is "
            "reset only when memory is short.",
            any_timeout},
           {"tls-handshake-timeout", "DURATION", Scope::process,
            &ProcessConfig::tls_handshake_timeout,
            "From accepting (or connecting) to the end of the TLS handshake, without the time that "
            "it waits here for its turn; clients and backends.",
            any_timeout},
           {"request-head-timeout", "DURATION", Scope::process,
            &ProcessConfig::request_head_timeout,
            "From the first to the last byte of a request's head.", any_timeout},
           {"request-head-fields-max", "N", Scope::process, &ProcessConfig::request_head_fields_max,
            "Fields in a request's head; more are answered with 431.", between(16, 65536)},
           {"request-head-bytes-max", "SIZE", Scope::process,
            &ProcessConfig::request_head_bytes_max,
            "Size of a request's head, as HTTP/2 counts it; more is answered with 431, as is a "
            "single field of more than 256KiB. The API servers' own limit is 1MiB.",
            between(4 * KiB, MiB - 1)},
           {"response-head-fields-max", "N", Scope::process,
            &ProcessConfig::response_head_fields_max,
            "Fields in the head of a backend's answer; more become a 502.", between(16, 65536)},
           {"response-head-bytes-max", "SIZE", Scope::process,
            &ProcessConfig::response_head_bytes_max,
            "Size of the head of a backend's answer, as HTTP/2 counts it; more becomes a 502, as "
            "does a single field of more than 256KiB.",
            between(4 * KiB, 8 * MiB)},
           {"http2-max-streams-per-connection", "N", Scope::process,
            &ProcessConfig::http2_max_streams_per_connection,
            "Requests that a client may have open on one connection.", between(1, 100'000)},
           {"http2-stream-window-bytes", "SIZE", Scope::process,
            &ProcessConfig::http2_stream_window_bytes,
            "Flow-control window of one stream at first, that is what a sender may be ahead of the "
            "receiver.",
            any_window},
           {"http2-stream-window-bytes-max", "SIZE", Scope::process,
            &ProcessConfig::http2_stream_window_bytes_max,
            "What a stream's window may grow to while its receiver is quick and half of "
            "--body-bytes-per-worker is free.",
            any_window},
           {"http2-connection-window-bytes", "SIZE", Scope::process,
            &ProcessConfig::http2_connection_window_bytes,
            "Flow-control window of a connection; not below the largest of a stream.", any_window},
       }},
      {"Backends",
       {
           {"backend", "HOST:PORT", Scope::cluster, &ClusterConfig::backends,
            "An API server: an address, or a name that stands for all of its addresses, IPv4 and "
            "IPv6, as DNS has them at any time. What was known last stays while DNS fails. "
            "Repeatable, up to 64; at least one, unless --backend-file or --discovery-kubeconfig "
            "names them."},
           {"backend-file", "FILE", Scope::cluster, &ClusterConfig::backend_file,
            "More of them, a HOST:PORT on each line, and # before comments. A file that becomes "
            "unreadable, empty or wrong takes no backend away."},
           {"discovery-kubeconfig", "FILE", Scope::cluster, &ClusterConfig::discovery_kubeconfig,
            "How to reach a management cluster in which more of them run: server, authority, and "
            "a token, a file of one, or a client certificate. Its user must be allowed to list "
            "and watch EndpointSlices in --discovery-namespace. Plugins are not executed."},
           {"discovery-namespace", "NAME", Scope::cluster, &ClusterConfig::discovery_namespace,
            "The namespace of --discovery-service there."},
           {"discovery-service", "NAME", Scope::cluster, &ClusterConfig::discovery_service,
            "The Service whose EndpointSlices name the API servers. What terminates gets nothing "
            "new, and ends what it carries."},
           {"discovery-port-name", "NAME", Scope::cluster, &ClusterConfig::discovery_port_name,
            "The name of the Service's port. Default: the only one."},
           {"backend-discovery", "WAY", Scope::cluster, &ClusterConfig::backend_discovery,
            "self: the API servers themselves say where the others are, in the slice of their own "
            "Service, default/kubernetes. Whom it names is used once he has shown that he is one "
            "of them; nobody who lives goes because it does not name him. Needs "
            "--backend-networks, and a front-proxy pair. Default: nobody is asked."},
           {"backend-networks", "CIDR", Scope::cluster, &ClusterConfig::backend_networks,
            "Where API servers may be that --backend-discovery finds, at the port that all "
            "--backend have; tenants may be able to edit what it reads. Repeatable."},
           {"pass-through", "ADDR:PORT", Scope::cluster, &ClusterConfig::pass_through,
            "Where connections go untouched, ClientHello included, each to the one that has "
            "fewest. "
            "Repeatable, up to 64. In the place of a certificate, a key and backends: whoever is "
            "there ends TLS."},
           {"mode", "MODE", Scope::cluster, &ClusterConfig::mode,
            "l7: each request on its own, to --backend. l4: connections untouched, to "
            "--pass-through. A cluster may have what both need, and be switched from one to the "
            "other. auto: l4 where there is nothing but --pass-through."},
           {"hibernated", "", Scope::cluster, &ClusterConfig::hibernated,
            "true: the control plane is switched off. Its clients are answered with 503 and "
            "Retry-After, no API server is asked, and nothing is wrong about that. --backend and "
            "--backend-ca-file may stay or be missing."},
           {"backend-ca-file", "FILE", Scope::cluster, &ClusterConfig::backend_ca_file,
            "PEM certificates of the authorities that sign the API servers' certificates. "
            "Required: a backend is never used unverified."},
           {"backend-server-name", "NAME", Scope::cluster, &ClusterConfig::backend_server_name,
            "Name (or IP address) that the API servers' certificates must carry, for example "
            "kubernetes.default.svc. Default: the name or the address of each backend."},
           {"backend-readiness-path", "PATH", Scope::both, &ClusterConfig::backend_readiness_path,
            "What is asked to learn whether a backend is ready."},
           {"dns-server", "ADDR:PORT", Scope::process, &ProcessConfig::dns_servers,
            "Who is asked for backends' names. Repeatable: the next one is asked where one fails. "
            "Default: the system's, as /etc/resolv.conf has them."},
           {"backend-connect-timeout", "DURATION", Scope::process,
            &ProcessConfig::backend_connect_timeout,
            "From opening a connection to a backend until it is open.",
            between(milliseconds(1), hours(1))},
           {"backend-idle-timeout", "DURATION", Scope::both, &ClusterConfig::backend_idle_timeout,
            "Close a backend connection that has had no stream for this long; below the API "
            "servers' 90s.",
            any_timeout},
           {"backend-ping-interval", "DURATION", Scope::both, &ClusterConfig::backend_ping_interval,
            "How often a backend connection that carries streams is asked for a sign of life.",
            between(milliseconds(100), hours(1))},
           {"backend-ping-timeout", "DURATION", Scope::both, &ClusterConfig::backend_ping_timeout,
            "A backend connection that does not answer for this long is lost.",
            between(milliseconds(100), hours(1))},
           {"backend-check-timeout", "DURATION", Scope::both, &ClusterConfig::backend_check_timeout,
            "The same after a failed probe of the backend, while others are answered.",
            between(milliseconds(100), hours(1))},
           {"backend-backoff-max", "DURATION", Scope::both, &ClusterConfig::backend_backoff_max,
            "Longest wait between two attempts to connect to a backend.",
            between(milliseconds(50), minutes(10))},
           {"backend-connects-per-second", "N", Scope::both,
            &ClusterConfig::backend_connects_per_second,
            "Connections that all workers together open to one backend for requests with proven "
            "credentials; fewer while handshakes take longer than they use to, and one at most "
            "while none succeeds. 0: no limit.",
            between(0, 1'000'000)},
           {"backend-connection-age-max", "DURATION", Scope::both,
            &ClusterConfig::backend_connection_age_max,
            "Replace a backend connection that is older, without ending a stream.",
            between(seconds(10), hours(24 * 30))},
           {"backend-streams-per-connection", "N", Scope::both,
            &ClusterConfig::backend_streams_per_connection,
            "Streams on one backend connection, or fewer if the backend says so. API servers allow "
            "100.",
            between(1, 10'000)},
           {"backend-connections-max", "N", Scope::both, &ClusterConfig::backend_connections_max,
            "Connections for each worker, backend and kind of credential, without those that "
            "drain. Three quarters at most are for watches, logs and what else stays, an eighth "
            "for lists.",
            between(1, 65536)},
           {"backend-draining-connections-max", "N", Scope::both,
            &ClusterConfig::backend_draining_connections_max,
            "Connections that a backend has asked to leave and that still carry streams, counted "
            "alike. Above it the watches of the oldest are ended cleanly.",
            between(1, 4096)},
           {"probe-interval", "DURATION", Scope::both, &ClusterConfig::probe_interval,
            "How often a backend's readiness is asked.", between(milliseconds(50), minutes(5))},
           {"probe-timeout", "DURATION", Scope::both, &ClusterConfig::probe_timeout,
            "A probe without an answer by then counts as failed; a later answer as one of a slow "
            "backend.",
            between(milliseconds(10), minutes(5))},
           {"probe-failures", "N", Scope::both, &ClusterConfig::probe_failures,
            "Unclear failures in a row that take a backend out of use. A clear one does so alone.",
            between(1, 100)},
           {"probe-successes", "N", Scope::both, &ClusterConfig::probe_successes,
            "Good answers in a row that bring it back.", between(1, 100)},
       }},
      {"Identity",
       {
           {"proxy-client-cert-file", "FILE", Scope::cluster,
            &ClusterConfig::proxy_client_cert_file,
            "PEM front-proxy certificate, as the API servers' --requestheader-client-ca-file "
            "trusts it. Together with --client-ca-file it lets users keep their certificates' "
            "names."},
           {"proxy-client-key-file", "FILE", Scope::cluster, &ClusterConfig::proxy_client_key_file,
            "PEM private key of --proxy-client-cert-file."},
           {"requestheader-username-headers", "NAMES", Scope::both,
            &ClusterConfig::requestheader_username_headers,
            "As the API servers' flag: the first is sent, all are taken from clients' requests."},
           {"requestheader-group-headers", "NAMES", Scope::both,
            &ClusterConfig::requestheader_group_headers,
            "As the API servers' flag: the first is sent, all are taken from clients' requests."},
           {"requestheader-extra-headers-prefix", "NAMES", Scope::both,
            &ClusterConfig::requestheader_extra_headers_prefix,
            "As the API servers' flag: the first is sent, all are taken from clients' requests."},
           {"requestheader-uid-headers", "NAMES", Scope::both,
            &ClusterConfig::requestheader_uid_headers,
            "As the API servers' flag: the first is sent, all are taken from clients' requests."},
           {"proven-tokens-max", "N", Scope::both, &ClusterConfig::proven_tokens_max,
            "Bearer tokens for each worker that are remembered, by a keyed hash, as accepted by a "
            "backend.",
            between(16, 16'000'000)},
           {"suspect-streams-per-connection", "N", Scope::both,
            &ClusterConfig::suspect_streams_per_connection,
            "Streams on a backend connection that carries requests without a proven credential.",
            between(1, 100)},
           {"suspect-connect-interval", "DURATION", Scope::both,
            &ClusterConfig::suspect_connect_interval,
            "Least time between two such connections, for each worker and backend.",
            between(Duration::zero(), seconds(10))},
       }},
      {"Balancing, deadlines, replay",
       {
           {"balance", "POLICY", Scope::both, &ClusterConfig::balance,
            "power-of-two, least, random or round-robin. The latter are there to be compared "
            "with."},
           {"backend-slow-start", "DURATION", Scope::both, &ClusterConfig::backend_slow_start,
            "How long a backend that joins or comes back takes at least to get a full share of the "
            "requests; it begins with an eighth. 0s: none. power-of-two and least only.",
            between(Duration::zero(), minutes(10))},
           {"backend-review", "", Scope::both, &ClusterConfig::backend_review,
            "A backend that answers much later than the others, fails more often or turns requests "
            "away gets less of them until it is as good again. power-of-two and least only."},
           {"request-timeout", "DURATION", Scope::both, &ClusterConfig::request_timeout,
            "Deadline of a request that is not long-running (watch, log follow, exec, proxy ...). "
            "The API servers' own is 60s.",
            between(milliseconds(10), hours(24))},
           {"write-affinity", "DURATION", Scope::both, &ClusterConfig::write_affinity,
            "So long all requests of a client (an identity at an address) go to the API server "
            "through which it has written to apiextensions.k8s.io, rbac.authorization.k8s.io, "
            "apiregistration.k8s.io or admissionregistration.k8s.io, a namespace, or a priority, "
            "storage, ingress or runtime class, since other servers' informers lag; and reads at "
            "resourceVersion 0 to where the same connection has "
            "written to that resource. 0: they go anywhere.",
            between(Duration::zero(), minutes(5))},
           {"replay-body-bytes", "SIZE", Scope::both, &ClusterConfig::replay_body_bytes,
            "How much of a request's body is kept, so that it can be sent to another backend.",
            between(0, GiB)},
           {"replay-body-bytes-per-worker", "SIZE", Scope::process,
            &ProcessConfig::replay_body_bytes_per_worker, "The same for all requests of a worker.",
            between(0, 64 * GiB)},
           {"replay-budget-percent", "N", Scope::both, &ClusterConfig::replay_budget_percent,
            "Replays for each hundred requests; 0 turns replay off.", between(0, 100)},
           {"replay-tries", "N", Scope::both, &ClusterConfig::replay_tries,
            "Replays of one request.", between(0, 10)},
           {"watch-history-age", "DURATION", Scope::both, &ClusterConfig::watch_history_age,
            "An API server that has run for less may not know what a watch has missed that goes on "
            "from where it was. There such a watch waits for its first event before its client "
            "sees anything, and is sent once more, to an older server, when that event is 410. "
            "0s: never.",
            between(Duration::zero(), hours(24))},
           {"watch-history-wait", "DURATION", Scope::both, &ClusterConfig::watch_history_wait,
            "How long it waits. 0s: not at all.", between(Duration::zero(), seconds(5))},
           {"watch-steering-age", "DURATION", Scope::both, &ClusterConfig::watch_steering_age,
            "While an API server has run for less, watches that go on are sent to older ones, "
            "unless these hold much more than their share. 0s: never.",
            between(Duration::zero(), hours(24))},
       }},
      {"Process",
       {
           {"clusters", "DIR", Scope::process, &ProcessConfig::clusters,
            "A folder with a file NAME.conf for each cluster, in the form of --config; NAME has "
            "letters, digits, dashes, dots and underscores. Such a file takes what is [cluster] "
            "and [both]. Empty: there is one cluster, of the flags that are [cluster]; beside a "
            "folder these are refused."},
           {"workers", "N", Scope::process, &ProcessConfig::workers,
            "Threads that serve. 0: one for each CPU that we may use.", between(0, 1024)},
           {"receive-buffer-bytes", "SIZE", Scope::process, &ProcessConfig::receive_buffer_bytes,
            "Size of one receive buffer; a power of two.", between(4 * KiB, 256 * KiB)},
           {"receive-buffers", "N", Scope::process, &ProcessConfig::receive_buffers,
            "Receive buffers of each worker; a power of two.", between(8, 32768)},
           {"send-buffer-bytes", "SIZE", Scope::process, &ProcessConfig::send_buffer_bytes,
            "What one send carries at most; a connection that sends holds one.",
            between(36 * KiB, 4 * MiB)},
           {"body-bytes-per-worker", "SIZE", Scope::process, &ProcessConfig::body_bytes_per_worker,
            "Bytes that clients make a worker hold: bodies on their way, grown windows, requests, "
            "and what their connections hold; above it no request is admitted.",
            between(MiB, 16 * TiB)},
           {"body-bytes-per-client", "SIZE", Scope::both, &ClusterConfig::body_bytes_per_client,
            "The same of one client in one worker, by token or certificate and address, without a "
            "proven one by connection; above it this client's requests get 429. 0: a quarter of "
            "--body-bytes-per-worker.",
            between(0, 16 * TiB)},
           {"anonymous-requests-per-address", "N", Scope::both,
            &ClusterConfig::anonymous_requests_per_address,
            "Requests without any credential that have no answer yet, of one address (IPv6: the "
            "first 64 bits) in one worker; further ones get 429 at once. /livez, /readyz and "
            "/healthz are not counted.",
            between(1, 1 << 20)},
           {"unproven-requests-per-address", "N", Scope::both,
            &ClusterConfig::unproven_requests_per_address,
            "The same with bearer tokens that have not been taken by an API server here yet.",
            between(1, 1 << 20)},
           {"tunnels-per-client", "N", Scope::both, &ClusterConfig::tunnels_per_client,
            "Tunnels (exec, attach, port-forward) of one client in one worker; further ones get "
            "429. 0: any number.",
            between(0, 1 << 20)},
           {"overload-wait", "DURATION", Scope::process, &ProcessConfig::overload_wait,
            "A worker is overloaded when work has to wait for so long, because the worker itself "
            "uses its CPU. Then clients that cause more work than others get 429. 0s: never.",
            between(Duration::zero(), hours(1))},
           {"overload-patience", "DURATION", Scope::process, &ProcessConfig::overload_patience,
            "For so long work may wait like that before anything is refused.", any_timeout},
           {"shutdown-delay-duration", "DURATION", Scope::process,
            &ProcessConfig::shutdown_delay_duration,
            "After SIGTERM: how long to serve on as not ready, until balancers have noticed.",
            between(Duration::zero(), hours(1))},
           {"drain-timeout", "DURATION", Scope::process, &ProcessConfig::drain_timeout,
            "After that: how long running requests may take. Watches end spread over it.",
            between(Duration::zero(), hours(24))},
           {"drain-timeout-tunnels", "DURATION", Scope::process,
            &ProcessConfig::drain_timeout_tunnels,
            "The same for tunnels: exec, attach, port-forward. Empty: as --drain-timeout."},
           {"take-over-timeout", "DURATION", Scope::process, &ProcessConfig::take_over_timeout,
            "After SIGUSR2: how long the new process may take until it could serve. It is ended "
            "then, and the old one serves on.",
            between(seconds(1), hours(1))},
           {"worker-stall-timeout", "DURATION", Scope::process,
            &ProcessConfig::worker_stall_timeout,
            "A worker that has not turned for this long makes the service manager restart the "
            "process (systemd's watchdog), and after three times as long the process ends itself "
            "with SIGABRT. 0s: it is only logged.",
            between(Duration::zero(), hours(1))},
           {"admin-listen", "ADDR:PORT", Scope::process, &ProcessConfig::admin_listen,
            "/metrics, /livez, /readyz, /backends, /clusters and /debug, without TLS. Empty: "
            "none."},
           {"log-level", "LEVEL", Scope::process, &ProcessConfig::log_level,
            "error, warning, info or debug."},
           {"access-log", "FILE", Scope::process, &ProcessConfig::access_log,
            "One JSON line for each request; - is standard output. Empty: none."},
           {"watch-files", "", Scope::process, &ProcessConfig::watch_files,
            "Take changed files over by themselves, as SIGHUP does; =false: only then."},
       }},
  };
  return groups;
}

}  // namespace sluice::config
