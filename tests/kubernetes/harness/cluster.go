// SPDX-License-Identifier: GPL-3.0-or-later
//
// One etcd and three kube-apiservers (or as many as a test wants) on loopback, set up as a control
// plane that stands behind a proxy: RBAC, tokens, client certificates, a front-proxy CA, and an
// audit log for each server.

package harness

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const (
	// ServerCount is the number of API servers.
	ServerCount = 3
	// ServerName is in the certificate of every API server.
	ServerName = "kubernetes.default.svc"
	// TesterGroup may do everything, by RBAC; its members pass through API Priority and Fairness,
	// from which system:masters is exempt.
	TesterGroup = "testers"
	// FrontProxyName is the common name that the servers accept for X-Remote-*.
	FrontProxyName = "front-proxy-client"
	// LedgerNamespace is for so many requests that nobody wants them in an audit log.
	LedgerNamespace = "ledger"
)

// Tokens of the token file.
const (
	AdminToken  = "admin-token"  // system:masters
	TesterToken = "tester-token" // TesterGroup
	ViewerToken = "viewer-token" // a user with a UID, who may do next to nothing
)

// ClusterOptions differ between tests.
type ClusterOptions struct {
	GoawayChance float64
	// ShutdownDelay is what --shutdown-delay-duration is set to, together with
	// --shutdown-send-retry-after; 0 leaves both at their defaults.
	ShutdownDelay time.Duration
	// RequestTimeout is also how long a stopping server waits for its watches; 0 leaves the minute
	// that is its default.
	RequestTimeout time.Duration
	// Servers is their number; 0 is ServerCount.
	Servers int
	// Program is what every server is; empty: kube-apiserver of the programs' folder.
	Program string
	// TokenSuffix sets the tokens of this control plane apart from those of another.
	TokenSuffix string
	// Flags are added to those of every server, FlagsOf to those of one.
	Flags   []string
	FlagsOf func(server int) []string
	// AddressOf is where a server listens and what it advertises; nil: a port of loopback of its own.
	AddressOf func(server int) string
	// EtcdDelays is how late each server hears from etcd; servers without one are not delayed.
	EtcdDelays []time.Duration
}

// APIServer is one kube-apiserver.
type APIServer struct {
	*Process
	Name    string
	Address string
	Audit   string

	program string
	flags   []string
}

// Cluster is a running control plane.
type Cluster struct {
	Dir        string
	CA         *Authority // Serving certificates.
	ClientCA   *Authority
	FrontProxy *Authority
	Servers    []*APIServer

	etcd        *Process
	endpoint    string // etcd's
	programs    string
	options     ClusterOptions
	relays      []*DelayRelay
	tokenSuffix string
}

// StartCluster starts a control plane from the programs in the given folder.
func StartCluster(programs string, options ClusterOptions) (_ *Cluster, err error) {
	c := &Cluster{tokenSuffix: options.TokenSuffix, programs: programs, options: options}
	if c.Dir, err = os.MkdirTemp("", "sluice-cluster-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			c.Stop()
		}
	}()
	if err := c.writeFiles(); err != nil {
		return nil, err
	}
	if c.endpoint, err = c.startEtcd(programs); err != nil {
		return nil, err
	}
	count := options.Servers
	if count == 0 {
		count = ServerCount
	}
	failures := make([]error, count)
	c.Servers = make([]*APIServer, count)
	var starting sync.WaitGroup
	for i := range c.Servers {
		if c.Servers[i], err = c.startServer(i); err != nil {
			return nil, err
		}
		starting.Go(func() { failures[i] = c.waitReady(c.Servers[i]) })
	}
	starting.Wait()
	if err := errors.Join(failures...); err != nil {
		return nil, err
	}
	return c, c.bindTesters()
}

// Stop ends all processes and removes their files.
func (c *Cluster) Stop() {
	for _, server := range c.Servers {
		if server != nil {
			server.Kill()
		}
	}
	for _, relay := range c.relays {
		relay.Close()
	}
	if c.etcd != nil {
		c.etcd.Kill()
	}
	_ = os.RemoveAll(c.Dir)
}

// Addresses are those of the API servers.
func (c *Cluster) Addresses() []string {
	var addresses []string
	for _, server := range c.Servers {
		addresses = append(addresses, server.Address)
	}
	return addresses
}

// ReadAudit returns the events that keep accepts, by server.
func (c *Cluster) ReadAudit(keep func(*AuditEvent) bool) ([][]AuditEvent, error) {
	all := make([][]AuditEvent, len(c.Servers))
	for i, server := range c.Servers {
		events, err := ReadAudit(server.Audit, keep)
		if err != nil {
			return nil, err
		}
		all[i] = events
	}
	return all, nil
}

// Token is the token of this control plane's file for one of the names above; "" stays "".
func (c *Cluster) Token(name string) string {
	if name == "" {
		return ""
	}
	return name + c.tokenSuffix
}

// Direct is the configuration of a client that talks to one server without a proxy.
func (c *Cluster) Direct(server int, token string) *rest.Config {
	return &rest.Config{
		Host:        "https://" + c.Servers[server].Address,
		BearerToken: c.Token(token),
		TLSClientConfig: rest.TLSClientConfig{
			CAData:     c.CA.PEM,
			ServerName: ServerName,
		},
		QPS:   -1,
		Burst: -1,
	}
}

// DirectTLS is the same on the level of TLS, for raw clients. A nil certificate sends none.
func (c *Cluster) DirectTLS(certificate *Pair) *tls.Config {
	return clientTLS(c.CA, ServerName, certificate)
}

func clientTLS(ca *Authority, name string, certificate *Pair) *tls.Config {
	config := &tls.Config{RootCAs: ca.Pool(), ServerName: name, MinVersion: tls.VersionTLS12}
	if certificate != nil {
		// Always offered, whatever issuers the other side names.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &certificate.TLS, nil
		}
	}
	return config
}

func (c *Cluster) file(name string) string { return filepath.Join(c.Dir, name) }

const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  nonResourceURLs: ["/healthz*", "/livez*", "/readyz*"]
- level: None
  users: ["system:apiserver"]
- level: None
  namespaces: ["` + LedgerNamespace + `"]
- level: Metadata
`

func (c *Cluster) writeFiles() (err error) {
	for _, authority := range []struct {
		place **Authority
		name  string
	}{{&c.CA, "serving-ca"}, {&c.ClientCA, "client-ca"}, {&c.FrontProxy, "front-proxy-ca"}} {
		if *authority.place, err = NewAuthority(authority.name); err != nil {
			return err
		}
		if err = os.WriteFile(c.file(authority.name+".crt"), (*authority.place).PEM, 0o600); err != nil {
			return err
		}
	}
	serving, err := c.CA.Issue(Leaf{CommonName: "kube-apiserver", Serving: true, Names: []string{ServerName, "localhost"}})
	if err != nil {
		return err
	}
	if _, _, err = serving.Write(c.Dir, "apiserver"); err != nil {
		return err
	}
	toKubelets, err := c.ClientCA.Issue(Leaf{CommonName: "kube-apiserver-kubelet-client"})
	if err != nil {
		return err
	}
	if _, _, err = toKubelets.Write(c.Dir, "kubelet-client"); err != nil {
		return err
	}
	// Service account tokens are signed with RSA, as in most control planes.
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	private := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	if err = os.WriteFile(c.file("service-account.key"), private, 0o600); err != nil {
		return err
	}
	tokens := strings.Join([]string{
		c.Token(AdminToken) + `,admin,,"system:masters"`,
		c.Token(TesterToken) + `,tester,,"` + TesterGroup + `"`,
		c.Token(ViewerToken) + `,viewer,viewer-uid,"viewers,odd group"`,
	}, "\n") + "\n"
	if err = os.WriteFile(c.file("tokens.csv"), []byte(tokens), 0o600); err != nil {
		return err
	}
	return os.WriteFile(c.file("audit-policy.yaml"), []byte(auditPolicy), 0o600)
}

func (c *Cluster) startEtcd(programs string) (endpoint string, err error) {
	var urls [2]string
	for i := range urls {
		port, err := FreePort()
		if err != nil {
			return "", err
		}
		urls[i] = fmt.Sprintf("http://127.0.0.1:%d", port)
	}
	c.etcd, err = StartProcess(c.Dir, "etcd", filepath.Join(programs, "etcd"),
		"--name=etcd", "--data-dir="+c.file("etcd-data"),
		"--listen-client-urls="+urls[0], "--advertise-client-urls="+urls[0],
		"--listen-peer-urls="+urls[1], "--initial-advertise-peer-urls="+urls[1],
		"--initial-cluster=etcd="+urls[1],
		"--unsafe-no-fsync", "--quota-backend-bytes=8589934592", "--log-level=warn")
	if err != nil {
		return "", err
	}
	return urls[0], c.etcd.WaitFor(30*time.Second, func() error { return expectOK(http.DefaultClient, urls[0]+"/health", "") })
}

func (c *Cluster) startServer(index int) (*APIServer, error) {
	options, etcd := c.options, c.endpoint
	address, err := c.addressOf(index)
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if index < len(options.EtcdDelays) && options.EtcdDelays[index] > 0 {
		relay, err := StartDelayRelay(strings.TrimPrefix(etcd, "http://"), options.EtcdDelays[index])
		if err != nil {
			return nil, err
		}
		c.relays = append(c.relays, relay)
		etcd = "http://" + relay.Address
	}
	name := fmt.Sprintf("apiserver-%d", index)
	server := &APIServer{
		Name:    name,
		Address: address,
		Audit:   c.file(name + "-audit.log"),
	}
	flags := []string{
		"--bind-address=" + host, "--secure-port=" + port,
		"--etcd-servers=" + etcd,
		"--endpoint-reconciler-type=none", "--service-cluster-ip-range=10.96.0.0/16",
		"--tls-cert-file=" + c.file("apiserver.crt"), "--tls-private-key-file=" + c.file("apiserver.key"),
		"--client-ca-file=" + c.file("client-ca.crt"),
		"--token-auth-file=" + c.file("tokens.csv"),
		"--requestheader-client-ca-file=" + c.file("front-proxy-ca.crt"),
		"--requestheader-allowed-names=" + FrontProxyName,
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--requestheader-uid-headers=X-Remote-Uid",
		"--kubelet-certificate-authority=" + c.file("serving-ca.crt"), "--kubelet-preferred-address-types=InternalIP",
		"--kubelet-client-certificate=" + c.file("kubelet-client.crt"), "--kubelet-client-key=" + c.file("kubelet-client.key"),
		"--service-account-issuer=https://" + ServerName,
		"--service-account-key-file=" + c.file("service-account.key"),
		"--service-account-signing-key-file=" + c.file("service-account.key"),
		"--disable-admission-plugins=ServiceAccount",
		"--authorization-mode=RBAC",
		"--audit-policy-file=" + c.file("audit-policy.yaml"), "--audit-log-path=" + server.Audit,
		"--audit-log-maxsize=4096",
		"--max-requests-inflight=2000", "--max-mutating-requests-inflight=1000",
		"--profiling=false",
	}
	if options.AddressOf != nil {
		flags = append(flags, "--advertise-address="+host)
	}
	if options.GoawayChance > 0 {
		flags = append(flags, fmt.Sprintf("--goaway-chance=%g", options.GoawayChance))
	}
	if options.ShutdownDelay > 0 {
		flags = append(flags, "--shutdown-delay-duration="+options.ShutdownDelay.String(), "--shutdown-send-retry-after=true")
	}
	if options.RequestTimeout > 0 {
		flags = append(flags, "--request-timeout="+options.RequestTimeout.String())
	}
	flags = append(flags, options.Flags...)
	if options.FlagsOf != nil {
		flags = append(flags, options.FlagsOf(index)...)
	}
	server.program, server.flags = options.Program, flags
	if server.program == "" {
		server.program = filepath.Join(c.programs, "kube-apiserver")
	}
	server.Process, err = StartProcess(c.Dir, name, server.program, flags...)
	return server, err
}

func (c *Cluster) addressOf(index int) (string, error) {
	if c.options.AddressOf != nil {
		return c.options.AddressOf(index), nil
	}
	port, err := FreePort()
	return net.JoinHostPort("127.0.0.1", fmt.Sprint(port)), err
}

// Add starts one more server, and waits until it is ready.
func (c *Cluster) Add() (*APIServer, error) {
	server, err := c.startServer(len(c.Servers))
	if err != nil {
		return nil, err
	}
	c.Servers = append(c.Servers, server)
	return server, c.waitReady(server)
}

// Restart starts a server that has ended, where it was and with an empty memory, and waits until it
// is ready.
func (c *Cluster) Restart(server *APIServer) (err error) {
	if server.Process, err = StartProcess(c.Dir, server.Name, server.program, server.flags...); err != nil {
		return err
	}
	return c.waitReady(server)
}

// RestartAs is Restart by another program, with the same flags.
func (c *Cluster) RestartAs(server *APIServer, program string) error {
	server.program = program
	return c.Restart(server)
}

func (c *Cluster) waitReady(server *APIServer) error {
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: c.DirectTLS(nil)}, Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	return server.WaitFor(90*time.Second, func() error {
		return expectOK(client, "https://"+server.Address+"/readyz", c.Token(AdminToken))
	})
}

// bindTesters gives TesterGroup all rights and waits until every server knows.
func (c *Cluster) bindTesters() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	admin, err := kubernetes.NewForConfig(c.Direct(0, AdminToken))
	if err != nil {
		return err
	}
	_, err = admin.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: TesterGroup},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "Group", Name: TesterGroup}},
	}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("bind %s: %w", TesterGroup, err)
	}
	for i := range c.Servers {
		tester, err := kubernetes.NewForConfig(c.Direct(i, TesterToken))
		if err != nil {
			return err
		}
		review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
			ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "delete", Resource: "namespaces"},
		}}
		for {
			answer, err := tester.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
			if err == nil && answer.Status.Allowed {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("%s does not know the rights of %s: %v", c.Servers[i].Name, TesterGroup, err)
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	return nil
}

// Lose ends a server without a word, as a crash does.
func (s *APIServer) Lose() { s.Kill() }

// Drain asks a server to stop in its own time.
func (s *APIServer) Drain() error { return s.Signal(syscall.SIGTERM) }

func expectOK(client *http.Client, url, token string) error {
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(response.Body, 4096))
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s: %s", url, response.Status, strings.TrimSpace(string(body)))
	}
	return nil
}
