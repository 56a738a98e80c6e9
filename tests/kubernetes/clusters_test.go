// SPDX-License-Identifier: GPL-3.0-or-later
//
// Two control planes behind one proxy. Whatever a client shows, it is somebody in the cluster that
// it named in its handshake, as that cluster's servers would say themselves, and nobody in the
// other.

package kubernetes

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"sluice/tests/kubernetes/harness"
)

const (
	blue  = "blue"
	green = "green"
)

// twoControlPlanes have nothing in common, not even where they bear the same names.
func twoControlPlanes(t *testing.T, servers int) map[string]*harness.Cluster {
	t.Helper()
	clusters := map[string]*harness.Cluster{}
	dir := programsDir(t)
	stopSharedCluster()
	for _, name := range []string{blue, green} {
		cluster := must[*harness.Cluster](t)(harness.StartCluster(dir, harness.ClusterOptions{Servers: servers, TokenSuffix: "-" + name}))
		t.Cleanup(cluster.Stop)
		showServersOnFailure(t, cluster)
		clusters[name] = cluster
	}
	return clusters
}

func startGateway(t *testing.T, clusters map[string]*harness.Cluster, options harness.GatewayOptions) *harness.Gateway {
	t.Helper()
	gateway, err := harness.StartGateway(sluiceBinary(t), clusters, options)
	if err != nil {
		t.Fatal(err)
	}
	watchOver(t)(gateway.Proxy, nil)
	return gateway
}

// whoami is the user that a cluster's servers see, or the status code with which they refuse.
func whoami(ctx context.Context, t *testing.T, config *rest.Config) string {
	t.Helper()
	client := must[*http.Client](t)(rest.HTTPClientFor(config))
	defer client.CloseIdleConnections()
	request := must[*http.Request](t)(http.NewRequestWithContext(ctx, http.MethodPost, config.Host+reviewPath, strings.NewReader(string(reviewBody))))
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body := string(must[[]byte](t)(io.ReadAll(response.Body)))
	if response.StatusCode != http.StatusCreated {
		return fmt.Sprint(response.StatusCode)
	}
	_, user, _ := strings.Cut(body, `"username":"`)
	user, _, _ = strings.Cut(user, `"`)
	return user
}

func TestNobodyOfOneControlPlaneIsSomebodyInAnother(t *testing.T) {
	ctx := within(t, 3*time.Minute)
	clusters := twoControlPlanes(t, 1)
	gateway := startGateway(t, clusters, harness.GatewayOptions{Before: func(g *harness.Gateway) error {
		return g.WriteFile(blue, "default=true")
	}})
	certificates := map[string]*harness.Pair{}
	for name, cluster := range clusters {
		certificates[name] = must[*harness.Pair](t)(cluster.ClientCA.Issue(harness.Leaf{CommonName: "certificate-of-" + name}))
	}
	direct := func(at string, token string, certificate *harness.Pair) *rest.Config {
		config := clusters[at].Direct(0, "")
		config.BearerToken = token
		if certificate != nil {
			config.CertData, config.KeyData = certificate.PEM, certificate.KeyPEM
		}
		return config
	}
	type protocol func(*rest.Config) *rest.Config
	for version, over := range map[string]protocol{"HTTP/2": func(c *rest.Config) *rest.Config { return c }, "HTTP/1.1": withoutHTTP2} {
		// Twice: what is remembered of the first time must not change the second.
		for round := range 2 {
			for _, at := range []string{blue, green} {
				for _, of := range []string{blue, green} {
					token := clusters[of].Token(harness.TesterToken)
					for credential, ask := range map[string][2]string{
						"token":       {whoami(ctx, t, direct(at, token, nil)), whoami(ctx, t, over(gateway.ClientOf(at, token, nil)))},
						"certificate": {whoami(ctx, t, direct(at, "", certificates[of])), whoami(ctx, t, over(gateway.ClientOf(at, "", certificates[of])))},
					} {
						if ask[0] != ask[1] {
							t.Errorf("%s, round %d: the %s of %s is %s in %s, and directly %s", version, round, credential, of, ask[1], at, ask[0])
						}
						if (at == of) == (ask[0] == "401") {
							t.Errorf("the %s of %s is %s in %s: that tests nothing", credential, of, ask[0], at)
						}
					}
				}
			}
		}
	}
}

// A client that reuses a connection for all names of its certificate, or forges a name, is told to
// open another one (RFC 9110 section 15.5.20).
func TestARequestForAnotherControlPlaneIsMisdirected(t *testing.T) {
	ctx := within(t, 3*time.Minute)
	clusters := twoControlPlanes(t, 1)
	gateway := startGateway(t, clusters, harness.GatewayOptions{})
	bearer := []harness.Field{{Name: "authorization", Value: "Bearer " + clusters[blue].Token(harness.TesterToken)}}
	client := must[*harness.RawClient](t)(harness.DialRaw(ctx, gateway.Address, "", gateway.TLSOf(blue, harness.ServerNameOf(blue), nil)))
	defer client.Close()
	for authority, status := range map[string]int{
		harness.ServerNameOf(blue):                http.StatusOK,
		"a." + harness.ServerNameOf(blue):         http.StatusOK,
		"127.0.0.1":                               http.StatusOK, // In nobody's names.
		harness.ServerNameOf(green):               http.StatusMisdirectedRequest,
		harness.ServerNameOf(green) + ":6443":     http.StatusMisdirectedRequest,
		"A." + strings.ToUpper("green") + ".TEST": http.StatusMisdirectedRequest,
	} {
		answer, err := client.Do(ctx, harness.RawRequest{Method: "GET", Path: "/version", Authority: authority, Fields: bearer})
		if err != nil || answer.Status != status {
			t.Errorf("HTTP/2, authority %s: %+v, %v", authority, answer, err)
		}
		config := gateway.ClientOf(blue, clusters[blue].Token(harness.TesterToken), nil)
		plain := must[*http.Client](t)(rest.HTTPClientFor(withoutHTTP2(config)))
		request := must[*http.Request](t)(http.NewRequestWithContext(ctx, http.MethodGet, config.Host+"/version", nil))
		request.Host = authority
		response, err := plain.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != status {
			t.Errorf("HTTP/1.1, host %s: %s", authority, response.Status)
		}
		plain.CloseIdleConnections()
	}
	for _, at := range []string{blue, green} {
		for _, events := range must[[][]harness.AuditEvent](t)(clusters[at].ReadAudit(func(e *harness.AuditEvent) bool { return e.RequestURI == "/version" })) {
			if want := map[string]int{blue: 6, green: 0}[at]; len(events) != want {
				t.Errorf("%s has seen %d of them, not %d", at, len(events), want)
			}
		}
	}
}

// handshake is what a client learns that asks for a name: the certificate's names, or the alert.
func handshake(ctx context.Context, t *testing.T, gateway *harness.Gateway, cluster, name string) ([]string, error) {
	t.Helper()
	config := gateway.TLSOf(cluster, name, nil)
	// A client without a name verifies all but that.
	config.InsecureSkipVerify = true
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", gateway.Address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].DNSNames, nil
}

func TestTheCertificateIsThatOfTheNameThatWasAskedFor(t *testing.T) {
	ctx := within(t, 3*time.Minute)
	clusters := twoControlPlanes(t, 1)
	gateway := startGateway(t, clusters, harness.GatewayOptions{Before: func(g *harness.Gateway) error {
		return g.WriteFile(blue, "default=true")
	}})
	for name, cluster := range map[string]string{
		"blue.test": blue, "a.blue.test": blue, "green.test": green, "b.GREEN.test": green, "Green.Test": green,
		"": blue, // Clients in the cluster dial an address, and send no name.
	} {
		names, err := handshake(ctx, t, gateway, cluster, name)
		if err != nil || names[0] != harness.ServerNameOf(cluster) {
			t.Errorf("%q: %v, %v", name, names, err)
		}
	}
	for _, name := range []string{"red.test", "a.b.green.test", "test", "greenXtest"} {
		if names, err := handshake(ctx, t, gateway, blue, name); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
			t.Errorf("%q: %v, %v", name, names, err)
		}
	}
	// As client-go in a pod does it.
	config := gateway.ClientOf(blue, clusters[blue].Token(harness.TesterToken), nil)
	config.Host = "https://" + gateway.Address
	client := must[*kubernetes.Clientset](t)(kubernetes.NewForConfig(config))
	if _, err := client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{}); err != nil {
		t.Error(err)
	}
}

// Clients do not know that their cluster's file is broken, and send their tokens all the same.
func TestNoTokenOfABrokenControlPlaneReachesAnother(t *testing.T) {
	ctx := within(t, 3*time.Minute)
	clusters := twoControlPlanes(t, 1)
	gateway := startGateway(t, clusters, harness.GatewayOptions{Waiting: []string{green}, Before: func(g *harness.Gateway) error {
		if err := g.WriteFile(blue, "default=unknown"); err != nil {
			return err
		}
		return os.WriteFile(g.Path(green, "serving.key"), []byte("no key\n"), 0o600)
	}})
	for _, over := range []func(*rest.Config) *rest.Config{func(c *rest.Config) *rest.Config { return c }, withoutHTTP2} {
		for _, trusted := range []string{blue, green} {
			// Also one that takes any certificate.
			config := over(gateway.ClientOf(trusted, clusters[green].Token(harness.AdminToken), nil))
			config.Host = "https://" + harness.ServerNameOf(green)
			config.TLSClientConfig.CAData, config.TLSClientConfig.Insecure = nil, true
			client := must[*http.Client](t)(rest.HTTPClientFor(config))
			if response, err := client.Get(config.Host + "/version"); err == nil {
				response.Body.Close()
				t.Errorf("a client of the broken one is served: %s", response.Status)
			}
		}
	}
	if user := whoami(ctx, t, gateway.ClientOf(blue, clusters[blue].Token(harness.TesterToken), nil)); user != "tester" {
		t.Errorf("the other one answers %s", user)
	}
	for _, name := range []string{"red.test", ""} {
		names, err := handshake(ctx, t, gateway, blue, name)
		if err != nil || names[0] != harness.ServerNameOf(blue) {
			t.Errorf("%q: %v, %v", name, names, err)
		}
	}
	seen := must[[][]harness.AuditEvent](t)(clusters[blue].ReadAudit(func(e *harness.AuditEvent) bool { return e.RequestURI == "/version" }))
	if len(seen[0]) != 0 {
		t.Errorf("the other one has seen %d requests of the broken one's clients", len(seen[0]))
	}
}

// Whoever ends TLS there sees the client as if nobody were between them.
func TestAControlPlaneIsPassedThrough(t *testing.T) {
	ctx := within(t, 3*time.Minute)
	clusters := twoControlPlanes(t, 2)
	cluster := clusters[green]
	gateway := startGateway(t, clusters, harness.GatewayOptions{Waiting: []string{green}, Before: func(g *harness.Gateway) error {
		return g.WriteLines(green, "server-names="+harness.ServerNameOf(green), "pass-through="+strings.Join(cluster.Addresses(), ","))
	}})
	subjects := map[string]bool{}
	for range 4 {
		config := gateway.TLSOf(green, harness.ServerNameOf(green), nil)
		config.InsecureSkipVerify = true // It is verified below: the servers' certificate has another name.
		conn := must[net.Conn](t)((&tls.Dialer{Config: config}).DialContext(ctx, "tcp", gateway.Address))
		leaf := conn.(*tls.Conn).ConnectionState().PeerCertificates[0]
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: cluster.CA.Pool(), DNSName: harness.ServerName}); err != nil {
			t.Error(err)
		}
		subjects[leaf.Subject.CommonName] = true
		conn.Close()
	}
	if len(subjects) != 1 || !subjects["kube-apiserver"] {
		t.Errorf("the certificates are of %v", subjects)
	}
	certificate := testerCertificate(t, cluster)
	for _, over := range []func(*rest.Config) *rest.Config{func(c *rest.Config) *rest.Config { return c }, withoutHTTP2} {
		passed := func(token string, pair *harness.Pair) *rest.Config {
			config := over(gateway.ClientOf(green, token, pair))
			config.TLSClientConfig.CAData, config.TLSClientConfig.Insecure = nil, true
			return config
		}
		for want, config := range map[string]*rest.Config{
			"certificate-tester": passed("", certificate),
			"tester":             passed(cluster.Token(harness.TesterToken), nil),
			"401":                passed(clusters[blue].Token(harness.TesterToken), nil),
		} {
			if user := whoami(ctx, t, config); user != want {
				t.Errorf("a client is %s, not %s", user, want)
			}
		}
		// Connections stay where they are: each client has one, and they are spread.
		for range 8 {
			if _, err := clientset(t, passed("", certificate)).CoreV1().Namespaces().List(ctx, metav1.ListOptions{}); err != nil {
				t.Error(err)
			}
		}
	}
	if user := whoami(ctx, t, gateway.ClientOf(blue, clusters[blue].Token(harness.TesterToken), nil)); user != "tester" {
		t.Errorf("beside it a client is %s", user)
	}
	for server, events := range must[[][]harness.AuditEvent](t)(cluster.ReadAudit(func(e *harness.AuditEvent) bool { return e.RequestURI == "/api/v1/namespaces" })) {
		if len(events) == 0 {
			t.Errorf("server %d has had no connection", server)
		}
	}
}

// Whatever a server without anonymous requests answers, we do.
func TestAnonymousRequestsAreRefusedAsByAServerThatTakesNone(t *testing.T) {
	ctx := within(t, 3*time.Minute)
	cluster := ownCluster(t, harness.ClusterOptions{Servers: 1, Flags: []string{"--anonymous-auth=false"}})
	gateway := startGateway(t, map[string]*harness.Cluster{blue: cluster}, harness.GatewayOptions{Before: func(g *harness.Gateway) error {
		return g.WriteFile(blue, "anonymous-auth=false")
	}})
	for _, request := range []harness.RawRequest{
		{Method: "GET", Path: "/version"},
		{Method: "GET", Path: "/api/v1/namespaces"},
		{Method: "GET", Path: "/readyz"},
		{Method: "POST", Path: "/api/v1/namespaces", Body: []byte("{}")},
		{Method: "GET", Path: "/nothing", Fields: []harness.Field{{Name: "authorization", Value: "Basic YTpi"}}},
		{Method: "GET", Path: "/version", Fields: []harness.Field{{Name: "authorization", Value: "Bearer " + cluster.Token(harness.TesterToken)}}},
	} {
		var answers []string
		for _, at := range []harnessTarget{
			{cluster.Servers[0].Address, cluster.DirectTLS(nil)},
			{gateway.Address, gateway.TLSOf(blue, harness.ServerNameOf(blue), nil)},
		} {
			client := must[*harness.RawClient](t)(at.dial(ctx))
			answer := must[*harness.RawResponse](t)(client.Do(ctx, request))
			answers = append(answers, fmt.Sprint(answer.Status, answer.Value("content-type"), answer.Value("www-authenticate"), string(answer.Body)))
			client.Close()
		}
		if answers[0] != answers[1] {
			t.Errorf("%s %s %v: directly %s\nand through the proxy %s", request.Method, request.Path, request.Fields, answers[0], answers[1])
		}
	}
}
