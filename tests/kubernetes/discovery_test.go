// SPDX-License-Identifier: GPL-3.0-or-later
//
// The API servers of a control plane are found by the EndpointSlices of a Service, by a user who
// may do what docs/examples/discovery-role.yaml allows, and nothing else.

package kubernetes

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"sluice/tests/kubernetes/harness"
)

const (
	sliceNamespace = "control-plane-blue" // As the example has it.
	sliceService   = "kube-apiserver"
)

// ownAddress is one of this machine that a slice may name: loopback addresses are refused there.
func ownAddress(t *testing.T) string {
	t.Helper()
	for _, address := range must[[]net.Addr](t)(net.InterfaceAddrs()) {
		if network, ok := address.(*net.IPNet); ok && network.IP.IsGlobalUnicast() && network.IP.To4() != nil {
			return network.IP.String()
		}
	}
	t.Skip("this machine has no address but loopback")
	return ""
}

// applyExample makes the objects of the example as they are written there, for a ServiceAccount of
// that name, and returns a token of it.
func applyExample(ctx context.Context, t *testing.T, admin *kubernetes.Clientset) string {
	t.Helper()
	file := must[*os.File](t)(os.Open("../../docs/examples/discovery-role.yaml"))
	defer file.Close()
	documents := yaml.NewYAMLOrJSONDecoder(file, 4096)
	var role rbacv1.Role
	var binding rbacv1.RoleBinding
	if err := errors.Join(documents.Decode(&role), documents.Decode(&binding)); err != nil {
		t.Fatal(err)
	}
	if err := documents.Decode(&struct{}{}); !errors.Is(err, io.EOF) {
		t.Fatalf("the example has more than a Role and a RoleBinding: %v", err)
	}
	subject := binding.Subjects[0]
	for _, name := range []string{sliceNamespace, subject.Namespace} {
		must[*corev1.Namespace](t)(admin.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}))
	}
	must[*rbacv1.Role](t)(admin.RbacV1().Roles(sliceNamespace).Create(ctx, &role, metav1.CreateOptions{}))
	must[*rbacv1.RoleBinding](t)(admin.RbacV1().RoleBindings(sliceNamespace).Create(ctx, &binding, metav1.CreateOptions{}))
	accounts := admin.CoreV1().ServiceAccounts(subject.Namespace)
	must[*corev1.ServiceAccount](t)(accounts.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: subject.Name}}, metav1.CreateOptions{}))
	token := must[*authenticationv1.TokenRequest](t)(accounts.CreateToken(ctx, subject.Name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{}))
	return token.Status.Token
}

func sliceOf(address string, server int, port int32, terminating bool) *discoveryv1.EndpointSlice {
	name, yes, no := "https", true, false
	conditions := discoveryv1.EndpointConditions{Ready: &yes, Serving: &yes, Terminating: &no}
	if terminating {
		conditions.Ready, conditions.Terminating = &no, &yes
	}
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Name:   fmt.Sprintf("server-%d", server),
			Labels: map[string]string{discoveryv1.LabelServiceName: sliceService},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{address}, Conditions: conditions}},
		Ports:       []discoveryv1.EndpointPort{{Name: &name, Port: &port}},
	}
}

func TestServersAreFollowedByTheirEndpointSlices(t *testing.T) {
	ctx := within(t, 4*time.Minute)
	stopSharedCluster()
	address := ownAddress(t)
	cluster := ownCluster(t, harness.ClusterOptions{Flags: []string{"--bind-address=0.0.0.0"}})
	admin := clientset(t, cluster.Direct(0, harness.AdminToken))
	token := applyExample(ctx, t, admin)
	slices := admin.DiscoveryV1().EndpointSlices(sliceNamespace)
	of := func(server int, terminating bool) *discoveryv1.EndpointSlice {
		_, text, _ := strings.Cut(cluster.Servers[server].Address, ":")
		port := must[int](t)(strconv.Atoi(text))
		return sliceOf(address, server, int32(port), terminating)
	}
	backend := func(server int) string {
		return fmt.Sprintf(`"name":"%s:%d"`, address, *of(server, false).Ports[0].Port)
	}
	for _, server := range []int{0, 1} {
		must[*discoveryv1.EndpointSlice](t)(slices.Create(ctx, of(server, false), metav1.CreateOptions{}))
	}
	kubeconfig := fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: management
contexts:
- {name: management, context: {cluster: management, user: sluice}}
clusters:
- name: management
  cluster: {server: "https://%s", tls-server-name: %s, certificate-authority-data: %s}
users:
- {name: sluice, user: {tokenFile: token}}
`, cluster.Servers[2].Address, harness.ServerName, base64.StdEncoding.EncodeToString(cluster.CA.PEM))
	gateway := startGateway(t, map[string]*harness.Cluster{blue: cluster}, harness.GatewayOptions{Before: func(g *harness.Gateway) error {
		name := harness.ServerNameOf(blue)
		return errors.Join(
			os.WriteFile(g.Path(blue, "token"), []byte(token+"\n"), 0o600),
			os.WriteFile(g.Path(blue, "kubeconfig"), []byte(kubeconfig), 0o600),
			g.WriteLines(blue,
				"server-names="+name+",*."+name,
				"tls-cert-file=blue/serving.crt", "tls-private-key-file=blue/serving.key", "client-ca-file=blue/client-ca.crt",
				"proxy-client-cert-file=blue/front-proxy.crt", "proxy-client-key-file=blue/front-proxy.key",
				"backend-ca-file=blue/backend-ca.crt", "backend-server-name="+harness.ServerName,
				"discovery-kubeconfig=blue/kubeconfig", "discovery-namespace="+sliceNamespace, "discovery-service="+sliceService))
	}})
	page := func() string {
		answer := must[*http.Response](t)(http.Get("http://" + gateway.Admin + "/backends"))
		defer answer.Body.Close()
		return string(must[[]byte](t)(io.ReadAll(answer.Body)))
	}
	if now := page(); !strings.Contains(now, backend(0)) || !strings.Contains(now, backend(1)) || strings.Contains(now, backend(2)) {
		t.Fatalf("the slices name the first two servers, and the gateway has %s", now)
	}
	stop := startMakers(ctx, t, cluster, gateway, 5*time.Millisecond)

	must[*discoveryv1.EndpointSlice](t)(slices.Create(ctx, of(2, false), metav1.CreateOptions{}))
	took := eventually(t, 10*time.Second, "the third server serves", func() bool {
		_, rest, found := strings.Cut(page(), backend(2))
		return found && strings.Contains(strings.SplitN(rest, "}", 2)[0], `"health":"ready"`)
	})
	figure(t, "a server that comes is used after %v", took)

	must[*discoveryv1.EndpointSlice](t)(slices.Update(ctx, of(0, true), metav1.UpdateOptions{}))
	took = eventually(t, 10*time.Second, "the first server leaves", func() bool {
		_, rest, found := strings.Cut(page(), backend(0))
		return !found || strings.Contains(strings.SplitN(rest, "}", 2)[0], `"leaving":true`)
	})
	figure(t, "one that terminates is left after %v", took)
	time.Sleep(2 * time.Second)
	if err := slices.Delete(ctx, "server-0", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	answers := stop()
	figure(t, "%d requests meanwhile", answers)
	if answers < 100 {
		t.Errorf("%d requests are too few to be told by", answers)
	}
}

// startMakers has two clients, one with a token and one with a certificate, make objects and get them, none of which may
// fail. The function that it returns ends them and tells how many requests there were.
func startMakers(ctx context.Context, t *testing.T, cluster *harness.Cluster, gateway *harness.Gateway, pause time.Duration) func() int64 {
	t.Helper()
	makeNamespace(ctx, t, cluster, trafficNamespace)
	asking, stop := context.WithCancel(ctx)
	var clients sync.WaitGroup
	var answers atomic.Int64
	for _, config := range []*rest.Config{
		gateway.ClientOf(blue, cluster.Token(harness.TesterToken), nil), gateway.ClientOf(blue, "", testerCertificate(t, cluster)),
	} {
		maps := clientset(t, config).CoreV1().ConfigMaps(trafficNamespace)
		clients.Go(func() {
			for ; asking.Err() == nil; time.Sleep(pause) {
				object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "made-"}}
				made, err := maps.Create(asking, object, metav1.CreateOptions{})
				if err == nil {
					_, err = maps.Get(asking, made.Name, metav1.GetOptions{})
				}
				if err != nil && asking.Err() == nil {
					t.Errorf("a request failed: %v", err)
				}
				answers.Add(2)
			}
		})
	}
	return func() int64 {
		stop()
		clients.Wait()
		return answers.Load()
	}
}
