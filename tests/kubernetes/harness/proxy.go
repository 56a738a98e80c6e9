// SPDX-License-Identifier: GPL-3.0-or-later
//
// The proxy under test, started as an operator would start it, and what it tells of itself.

package harness

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"k8s.io/client-go/rest"
)

// ProxyName is in the proxy's own certificate.
const ProxyName = "cluster.test"

// ProxyOptions differ between tests.
type ProxyOptions struct {
	Backends []string // Addresses; empty means the cluster's servers.
	Flags    []string // Added to the usual ones.
	// Distrusted: the backends do not take its identities, and that is what is tested.
	Distrusted bool
}

// Proxy is a running sluice.
type Proxy struct {
	*Process
	Address string
	Admin   string

	dir string
	ca  *Authority
}

// ProxyTrust is what the proxy is given to trust and to prove; a Cluster has all of it.
type ProxyTrust struct {
	ServingCA, ClientCA, FrontProxyCA *Authority
}

// StartProxy starts the binary with two workers before the cluster's servers and waits until it is ready.
func (c *Cluster) StartProxy(binary string, options ProxyOptions) (*Proxy, error) {
	if options.Backends == nil {
		options.Backends = c.Addresses()
	}
	return StartProxy(binary, ProxyTrust{c.CA, c.ClientCA, c.FrontProxy}, options)
}

// StartProxy starts the binary before any backends whose certificates ServingCA has signed.
func StartProxy(binary string, trust ProxyTrust, options ProxyOptions) (_ *Proxy, err error) {
	p := &Proxy{ca: trust.ServingCA}
	if p.dir, err = os.MkdirTemp("", "sluice-proxy-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			p.Close()
		}
	}()
	serving, err := trust.ServingCA.Issue(Leaf{CommonName: "sluice", Serving: true, Names: []string{ProxyName, ServerName, "localhost"}})
	if err != nil {
		return nil, err
	}
	frontProxy, err := trust.FrontProxyCA.Issue(Leaf{CommonName: FrontProxyName})
	if err != nil {
		return nil, err
	}
	certFile, keyFile, err := serving.Write(p.dir, "serving")
	if err != nil {
		return nil, err
	}
	proxyCert, proxyKey, err := frontProxy.Write(p.dir, "front-proxy")
	if err != nil {
		return nil, err
	}
	clientCA, backendCA := filepath.Join(p.dir, "client-ca.crt"), filepath.Join(p.dir, "backend-ca.crt")
	if err = os.WriteFile(clientCA, trust.ClientCA.PEM, 0o600); err != nil {
		return nil, err
	}
	if err = os.WriteFile(backendCA, trust.ServingCA.PEM, 0o600); err != nil {
		return nil, err
	}
	if err = p.choosePorts(); err != nil {
		return nil, err
	}
	flags := []string{
		"--listen", p.Address, "--admin-listen", p.Admin, "--workers", "2",
		"--tls-cert-file", certFile, "--tls-private-key-file", keyFile,
		"--client-ca-file", clientCA,
		"--backend-ca-file", backendCA, "--backend-server-name", ServerName,
		"--proxy-client-cert-file", proxyCert, "--proxy-client-key-file", proxyKey,
		"--requestheader-uid-headers", "X-Remote-Uid",
	}
	for _, backend := range options.Backends {
		flags = append(flags, "--backend", backend)
	}
	p.Process, err = StartProcess(p.dir, "sluice", binary, append(flags, options.Flags...)...)
	if err != nil {
		return nil, err
	}
	return p, p.WaitFor(20*time.Second, func() error { return p.ready(len(options.Backends), !options.Distrusted) })
}

func (p *Proxy) choosePorts() error {
	for _, place := range []*string{&p.Address, &p.Admin} {
		port, err := FreePort()
		if err != nil {
			return err
		}
		*place = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	}
	return nil
}

// ready asks for more than the proxy's own readiness, for which one backend is enough: the tests
// rely on all of them, for tokens and for certificates.
func (p *Proxy) ready(backends int, trusted bool) error {
	if err := expectOK(http.DefaultClient, "http://"+p.Admin+"/readyz", ""); err != nil {
		return err
	}
	for _, name := range []string{"backend_ready", "backend_trusts_identity"} {
		if name == "backend_trusts_identity" && !trusted {
			continue
		}
		if sum, _, err := p.Metric(name); err == nil && int(sum) < backends {
			return fmt.Errorf("%s: %d of %d", name, int(sum), backends)
		}
	}
	return nil
}

// Close ends the proxy and removes its files.
func (p *Proxy) Close() {
	if p.Process != nil {
		_ = p.Stop(5 * time.Second)
	}
	_ = os.RemoveAll(p.dir)
}

// Config is the configuration of a client that talks through the proxy.
func (p *Proxy) Config(token string, certificate *Pair) *rest.Config {
	config := &rest.Config{
		Host:            "https://" + p.Address,
		BearerToken:     token,
		TLSClientConfig: rest.TLSClientConfig{CAData: p.ca.PEM},
		QPS:             -1,
		Burst:           -1,
	}
	if certificate != nil {
		config.CertData, config.KeyData = certificate.PEM, certificate.KeyPEM
	}
	return config
}

// TLS is the same on the level of TLS, for raw clients. A nil certificate sends none.
func (p *Proxy) TLS(certificate *Pair) *tls.Config { return clientTLS(p.ca, ProxyName, certificate) }

// Metric sums the samples of all metrics whose name contains the given text, and tells their names.
func (p *Proxy) Metric(part string) (sum float64, names []string, err error) {
	page, err := p.adminPage("/metrics")
	if err != nil {
		return 0, nil, err
	}
	seen := map[string]bool{}
	for line := range strings.Lines(page) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, _, _ := strings.Cut(line, "{")
		name, _, _ = strings.Cut(name, " ")
		if !strings.Contains(name, part) {
			continue
		}
		value, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		if err != nil {
			return 0, nil, fmt.Errorf("metrics line %q: %w", line, err)
		}
		sum += value
		if !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	if names == nil {
		return 0, nil, fmt.Errorf("no metric's name contains %q", part)
	}
	return sum, names, nil
}

func (p *Proxy) adminPage(path string) (string, error) {
	response, err := http.Get("http://" + p.Admin + path)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s", path, response.Status)
	}
	return string(body), err
}

// Connections counts the established connections from this machine to the given addresses, as the
// kernel sees them.
func Connections(addresses []string) (int, error) {
	remote := map[string]bool{}
	for _, address := range addresses {
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			return 0, err
		}
		number, err := strconv.Atoi(port)
		if err != nil {
			return 0, err
		}
		remote[fmt.Sprintf("%04X", number)] = true
	}
	table, err := os.Open("/proc/net/tcp")
	if err != nil {
		return 0, err
	}
	defer table.Close()
	const established = "01"
	count := 0
	for lines := bufio.NewScanner(table); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) > 3 && fields[3] == established {
			if _, port, found := strings.Cut(fields[2], ":"); found && remote[port] {
				count++
			}
		}
	}
	return count, nil
}

// Samples returns a metric's samples by the value of one of its labels; what differs in others is summed.
func (p *Proxy) Samples(metric, label string) (map[string]float64, error) {
	page, err := p.adminPage("/metrics")
	if err != nil {
		return nil, err
	}
	samples := map[string]float64{}
	for line := range strings.Lines(page) {
		labels, found := strings.CutPrefix(strings.TrimSpace(line), metric+"{")
		if !found {
			continue
		}
		_, value, found := strings.Cut(labels, label+`="`)
		if !found {
			return nil, fmt.Errorf("%s has no label %s: %s", metric, label, line)
		}
		value, _, _ = strings.Cut(value, `"`)
		number, err := strconv.ParseFloat(labels[strings.LastIndexByte(labels, ' ')+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("metrics line %q: %w", line, err)
		}
		samples[value] += number
	}
	return samples, nil
}

// Processes are those that listen where the proxy does: itself, and who takes over from it.
func (p *Proxy) Processes() (pids []int) {
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		words, _ := os.ReadFile("/proc/" + entry.Name() + "/cmdline")
		if strings.Contains(string(words), "--listen\x00"+p.Address+"\x00") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// EndAll is Close for a proxy from which others have taken over: they are nobody's children.
func (p *Proxy) EndAll() {
	for _, pid := range p.Processes() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	_ = os.RemoveAll(p.dir)
}
