// SPDX-License-Identifier: GPL-3.0-or-later
//
// One proxy before several control planes, each with a file of its own, as an operator's tools
// would write them.

package harness

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/client-go/rest"
)

// Gateway is a running sluice with a folder of cluster files.
type Gateway struct {
	*Proxy
	clusters map[string]*Cluster
}

// GatewayOptions differ between tests.
type GatewayOptions struct {
	Flags []string // Added to the usual ones.
	// Before is called when the files are written and nothing runs yet.
	Before func(*Gateway) error
	// Waiting are the clusters that need not be ready; those that cannot be.
	Waiting []string
}

// ServerNameOf is the name under which clients know a cluster of a gateway.
func ServerNameOf(cluster string) string { return cluster + ".test" }

// StartGateway starts the binary with two workers before the clusters, by their names, and waits
// until all of them are ready.
func StartGateway(binary string, clusters map[string]*Cluster, options GatewayOptions) (_ *Gateway, err error) {
	g := &Gateway{Proxy: &Proxy{}, clusters: clusters}
	if g.dir, err = os.MkdirTemp("", "sluice-gateway-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			g.Close()
		}
	}()
	if err = os.Mkdir(g.folder(), 0o700); err != nil {
		return nil, err
	}
	for name := range clusters {
		if err = g.WriteCertificates(name); err != nil {
			return nil, err
		}
		if err = g.WriteFile(name); err != nil {
			return nil, err
		}
	}
	if options.Before != nil {
		if err = options.Before(g); err != nil {
			return nil, err
		}
	}
	if err = g.choosePorts(); err != nil {
		return nil, err
	}
	flags := []string{"--listen", g.Address, "--admin-listen", g.Admin, "--workers", "2", "--clusters", g.folder(),
		"--requestheader-uid-headers", "X-Remote-Uid"}
	g.Process, err = StartProcess(g.dir, "sluice", binary, append(flags, options.Flags...)...)
	if err != nil {
		return nil, err
	}
	unready := map[string]bool{}
	for _, name := range options.Waiting {
		unready[name] = true
	}
	for name := range clusters {
		if unready[name] {
			continue
		}
		if err = g.WaitReady(name); err != nil {
			return nil, err
		}
	}
	return g, nil
}

func (g *Gateway) folder() string { return filepath.Join(g.dir, "clusters") }

// Path is that of a file beside the cluster files; each cluster has a folder of its name there.
func (g *Gateway) Path(elements ...string) string {
	return filepath.Join(append([]string{g.folder()}, elements...)...)
}

// WaitReady waits until a cluster's backends are ready. Its first client makes it ask them at once.
func (g *Gateway) WaitReady(cluster string) error {
	return g.WaitFor(20*time.Second, func() error {
		client, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", g.Address, g.TLSOf(cluster, ServerNameOf(cluster), nil))
		if err != nil {
			return err
		}
		defer client.Close()
		return expectOK(http.DefaultClient, "http://"+g.Admin+"/readyz/"+cluster, "")
	})
}

// WriteCertificates gives a cluster's folder new pairs, and the authorities that it has.
func (g *Gateway) WriteCertificates(cluster string) error {
	if err := os.MkdirAll(g.Path(cluster), 0o700); err != nil {
		return err
	}
	c := g.clusters[cluster]
	if err := g.WriteServing(cluster); err != nil {
		return err
	}
	frontProxy, err := c.FrontProxy.Issue(Leaf{CommonName: FrontProxyName})
	if err != nil {
		return err
	}
	if _, _, err := frontProxy.Write(g.Path(cluster), "front-proxy"); err != nil {
		return err
	}
	if err := os.WriteFile(g.Path(cluster, "client-ca.crt"), c.ClientCA.PEM, 0o600); err != nil {
		return err
	}
	return os.WriteFile(g.Path(cluster, "backend-ca.crt"), c.CA.PEM, 0o600)
}

// WriteServing gives a cluster a new serving certificate.
func (g *Gateway) WriteServing(cluster string) error {
	pair, err := g.clusters[cluster].CA.Issue(Leaf{
		CommonName: "sluice", Serving: true,
		Names: []string{ServerNameOf(cluster), "*." + ServerNameOf(cluster)},
	})
	if err != nil {
		return err
	}
	_, _, err = pair.Write(g.Path(cluster), "serving")
	return err
}

// WriteFile writes a cluster's file, as one step, with lines of the test's own at its end.
func (g *Gateway) WriteFile(cluster string, lines ...string) error {
	name := ServerNameOf(cluster)
	all := []string{
		"server-names=" + name + ",*." + name,
		"tls-cert-file=" + cluster + "/serving.crt", "tls-private-key-file=" + cluster + "/serving.key",
		"client-ca-file=" + cluster + "/client-ca.crt",
		"proxy-client-cert-file=" + cluster + "/front-proxy.crt", "proxy-client-key-file=" + cluster + "/front-proxy.key",
		"backend-ca-file=" + cluster + "/backend-ca.crt", "backend-server-name=" + ServerName,
		"backend=" + strings.Join(g.clusters[cluster].Addresses(), ","),
	}
	return g.WriteLines(cluster, append(all, lines...)...)
}

// WriteLines is WriteFile with nothing but what is given.
func (g *Gateway) WriteLines(cluster string, lines ...string) error {
	content := []byte(strings.Join(lines, "\n") + "\n")
	draft := g.Path("." + cluster + ".draft")
	if err := os.WriteFile(draft, content, 0o600); err != nil {
		return err
	}
	return os.Rename(draft, g.Path(cluster+".conf"))
}

// ClientOf is the configuration of a client of a cluster, which dials the gateway and asks for the
// cluster by its name.
func (g *Gateway) ClientOf(cluster, token string, certificate *Pair) *rest.Config {
	c := g.clusters[cluster]
	config := &rest.Config{
		Host:            "https://" + ServerNameOf(cluster),
		BearerToken:     token,
		TLSClientConfig: rest.TLSClientConfig{CAData: c.CA.PEM},
		Dial:            g.dial,
		QPS:             -1,
		Burst:           -1,
	}
	if certificate != nil {
		config.CertData, config.KeyData = certificate.PEM, certificate.KeyPEM
	}
	return config
}

func (g *Gateway) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, g.Address)
}

// TLSOf is the same on the level of TLS.
func (g *Gateway) TLSOf(cluster, serverName string, certificate *Pair) *tls.Config {
	return clientTLS(g.clusters[cluster].CA, serverName, certificate)
}
