// SPDX-License-Identifier: GPL-3.0-or-later
//
// Whoever the client is stays exactly who a server would have seen, and nobody can claim to be
// someone else. SelfSubjectReview and the audit log tell whom the servers believed.

package kubernetes

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/asn1"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sluice/tests/kubernetes/harness"
)

// clientAddress is where identity tests come from, so that it differs from the proxy's own.
const clientAddress = "127.0.0.2"

const reviewPath = "/apis/authentication.k8s.io/v1/selfsubjectreviews"

var reviewBody = []byte(`{"kind":"SelfSubjectReview","apiVersion":"authentication.k8s.io/v1"}`)

// expectation says how the proxied answer relates to the direct one.
type expectation int

const (
	same              expectation = iota // The same identity, or the same refusal.
	refused                              // Refused, whatever the direct answer is: no header field can carry the name, or the leaf is no client's.
	sameButEmptyGroup                    // The same but for groups without a name, which servers drop from header fields; or refused.
)

type identity struct {
	name    string
	leaf    *harness.Leaf
	issuer  *harness.Authority // Default: the client CA.
	token   string
	fields  []harness.Field
	before  *harness.Pair // A certificate that the client has, too, and would rather show.
	expect  expectation
	success bool // The direct answer must be 201, or the case tests nothing.
}

func identities(t *testing.T, cluster *harness.Cluster, serviceAccount string) []identity {
	foreign := must[*harness.Authority](t)(harness.NewAuthority("foreign-ca"))
	clone := must[*harness.Authority](t)(harness.NewAuthority("client-ca"))
	corporate := must[*harness.Pair](t)(foreign.Issue(harness.Leaf{CommonName: "employee"}))
	name := func(value string) harness.Attribute { return harness.UTF8(harness.OIDCommonName, value) }
	group := func(value string) harness.Attribute { return harness.UTF8(harness.OIDOrganization, value) }
	uid := func(value string) harness.Attribute { return harness.UTF8(harness.OIDUserID, value) }
	joined := func(attribute harness.Attribute) harness.Attribute { attribute.Joined = true; return attribute }
	subject := func(attributes ...harness.Attribute) *harness.Leaf { return &harness.Leaf{Subject: attributes} }
	hour := time.Hour
	var many []string
	for i := range 200 {
		many = append(many, fmt.Sprintf("group-%d", i))
	}
	expired := &harness.Leaf{CommonName: "late", NotBefore: time.Now().Add(-2 * hour), NotAfter: time.Now().Add(-hour)}
	tester := harness.Leaf{CommonName: "tester", Organizations: []string{harness.TesterGroup}}
	impersonation := []harness.Field{
		{Name: "impersonate-user", Value: "alice"}, {Name: "impersonate-uid", Value: "alice-uid"},
		{Name: "impersonate-group", Value: "developers"}, {Name: "impersonate-group", Value: "Größe"},
		{Name: "impersonate-extra-example.org%2fscope", Value: "a"}, {Name: "impersonate-extra-example.org%2fscope", Value: "b"},
	}
	return []identity{
		{name: "certificate", leaf: &harness.Leaf{CommonName: "plain"}, success: true},
		{name: "certificate, several O", leaf: &harness.Leaf{CommonName: "user", Organizations: []string{"z", "a", "m"}}, success: true},
		{name: "certificate, O in their order, one twice", leaf: subject(group("z"), group("a"), group("z"), name("user"), group("after")), success: true},
		{name: "certificate, one O empty", leaf: subject(group("a"), group(""), name("user"), group("b")), expect: sameButEmptyGroup, success: true},
		{name: "certificate, 200 O", leaf: &harness.Leaf{CommonName: "user", Organizations: many}, success: true},
		{name: "certificate, odd characters", leaf: subject(name(`ünï, "cödé" \ /=+;#<>%41 Ω 漢字`), group(`a, b`), group(`"x"="y"`), group("  inner  spaces"[2:]), group("%2F")), success: true},
		{name: "certificate, two CN", leaf: subject(name("first"), group("g"), name("last")), success: true},
		{name: "certificate, CN and O in one RDN", leaf: subject(name("user"), joined(group("g"))), success: true},
		{name: "certificate, CN as BMPString", leaf: subject(harness.BMP(harness.OIDCommonName, "ünï漢")), expect: refused},
		{name: "certificate, CN as PrintableString", leaf: subject(harness.Attribute{OID: harness.OIDCommonName, Value: asn1.RawValue{Tag: asn1.TagPrintableString, Bytes: []byte("printable user")}}), success: true},
		{name: "certificate, OU beside O", leaf: subject(harness.UTF8(harness.OIDUnit, "unit"), group("g"), name("user")), success: true},
		{name: "certificate, UID", leaf: subject(name("user"), uid("user-uid"), group("g")), success: true},
		{name: "certificate, UID twice", leaf: subject(name("user"), uid("one"), uid("two"))},
		{name: "certificate, UID empty", leaf: subject(name("user"), uid(""))},
		{name: "certificate, system:masters", leaf: &harness.Leaf{CommonName: "root", Organizations: []string{"system:masters"}}, success: true},
		{name: "certificate, node", leaf: &harness.Leaf{CommonName: "system:node:n1", Organizations: []string{"system:nodes"}}, success: true},
		{name: "certificate, system:anonymous", leaf: &harness.Leaf{CommonName: "system:anonymous"}},
		{name: "certificate, system:unauthenticated", leaf: &harness.Leaf{CommonName: "user", Organizations: []string{"system:unauthenticated"}}},
		{name: "certificate, no CN", leaf: &harness.Leaf{Organizations: []string{"system:masters"}}},
		{name: "certificate, CN empty", leaf: subject(name(""), group("system:masters"))},
		{name: "certificate, last CN empty", leaf: subject(name("first"), name(""))},
		{name: "certificate, expired", leaf: expired},
		{name: "certificate, not yet valid", leaf: &harness.Leaf{CommonName: "early", NotBefore: time.Now().Add(hour)}},
		{name: "certificate, foreign CA", leaf: &harness.Leaf{CommonName: "plain", Organizations: []string{"system:masters"}}, issuer: foreign},
		{name: "certificate, clone of the CA", leaf: &harness.Leaf{CommonName: "plain", Organizations: []string{"system:masters"}}, issuer: clone},
		{name: "certificate, front-proxy CA", leaf: &harness.Leaf{CommonName: harness.FrontProxyName, Organizations: []string{"system:masters"}}, issuer: cluster.FrontProxy},
		{name: "certificate, of a server", leaf: &harness.Leaf{CommonName: "plain", Serving: true}},
		{name: "certificate, CA:TRUE", leaf: &harness.Leaf{CommonName: "plain", IsAuthority: true}, expect: refused},
		{name: "certificate, CN with outer space", leaf: subject(name(" plain")), expect: refused},
		{name: "certificate, CN with inner newline", leaf: subject(name("plain\nx-remote-group: system:masters")), expect: refused},
		{name: "certificate, CN with NUL", leaf: subject(name("admin\x00plain")), expect: refused},
		{name: "certificate, O with outer space", leaf: subject(name("user"), group("system:masters ")), expect: refused},
		{name: "certificate of another authority beside it", leaf: &harness.Leaf{CommonName: "plain"}, before: corporate, success: true},
		{name: "certificate with outer space and token", leaf: subject(name(" plain")), token: harness.AdminToken, expect: refused, success: true},
		{name: "certificate with CA:TRUE and token", leaf: &harness.Leaf{CommonName: "plain", IsAuthority: true}, token: harness.AdminToken, expect: refused, success: true},
		{name: "certificate, O with newline", leaf: subject(name("user"), group("a\r\nsystem:masters")), expect: refused},

		{name: "token", token: harness.TesterToken, success: true},
		{name: "token with UID and odd group", token: harness.ViewerToken, success: true},
		{name: "token, wrong", token: "wrong"},
		{name: "token of a service account, bound to a pod", token: serviceAccount, success: true},
		{name: "token of a service account, damaged", token: serviceAccount[:len(serviceAccount)-8] + "AAAAAAAA"},
		{name: "certificate and token", leaf: &harness.Leaf{CommonName: "plain"}, token: harness.AdminToken, success: true},
		{name: "certificate and wrong token", leaf: &harness.Leaf{CommonName: "plain"}, token: "wrong", success: true},
		{name: "expired certificate and token", leaf: expired, token: harness.ViewerToken, success: true},
		{name: "expired certificate and wrong token", leaf: expired, token: "wrong"},
		{name: "foreign certificate and token", leaf: &harness.Leaf{CommonName: "plain"}, issuer: foreign, token: harness.ViewerToken, success: true},
		{name: "certificate without CN and token", leaf: &harness.Leaf{Organizations: []string{"g"}}, token: harness.ViewerToken, success: true},
		{name: "anonymous"},

		{name: "impersonation by certificate", leaf: &tester, fields: impersonation, success: true},
		{name: "impersonation by token", token: harness.TesterToken, fields: impersonation, success: true},
		{name: "impersonation of a service account", token: harness.TesterToken, fields: []harness.Field{{Name: "impersonate-user", Value: "system:serviceaccount:default:default"}}, success: true},
		{name: "impersonation without the right", leaf: &harness.Leaf{CommonName: "plain"}, fields: impersonation},
		{name: "impersonation without the right, by token", token: harness.ViewerToken, fields: impersonation},
		{name: "impersonation by nobody", fields: impersonation},
	}
}

// wallet puts the other certificate before the client's own. A client of Go then shows the first whose authority was
// named.
func (i identity) wallet(config *tls.Config) *tls.Config {
	if i.before == nil {
		return config
	}
	own, err := config.GetClientCertificate(nil)
	if err != nil {
		panic(err)
	}
	config = config.Clone()
	config.GetClientCertificate = nil
	config.Certificates = []tls.Certificate{i.before.TLS, *own}
	return config
}

func TestProxiedIdentityEqualsTheDirectOne(t *testing.T) {
	cluster := sharedCluster(t)
	proxy := startProxy(t, cluster, harness.ProxyOptions{})
	ctx := within(t, 3*time.Minute)
	all := identities(t, cluster, serviceAccountToken(ctx, t, cluster))
	equal, refusals := 0, 0
	for number, who := range all {
		t.Run(who.name, func(t *testing.T) {
			var certificate *harness.Pair
			if who.leaf != nil {
				issuer := who.issuer
				if issuer == nil {
					issuer = cluster.ClientCA
				}
				certificate = must[*harness.Pair](t)(issuer.Issue(*who.leaf))
			}
			direct, directErr := review(ctx, who, harnessTarget{cluster.Servers[0].Address, who.wallet(cluster.DirectTLS(certificate))}, fmt.Sprintf("direct-%d", number))
			proxied, proxiedErr := review(ctx, who, harnessTarget{proxy.Address, who.wallet(proxy.TLS(certificate))}, fmt.Sprintf("proxied-%d", number))
			if directErr != nil {
				t.Fatalf("direct: %v", directErr)
			}
			if who.success && direct.Status != 201 {
				t.Fatalf("direct: %d %s: this case tests nothing", direct.Status, direct.Body)
			}
			if who.expect == refused {
				var reset harness.StreamReset
				if proxiedErr != nil && !errors.As(proxiedErr, &reset) {
					t.Fatalf("proxied: %v", proxiedErr)
				}
				if proxiedErr == nil && (proxied.Status < 400 || proxied.Status >= 500) {
					t.Fatalf("proxied: %d %s, expected a refusal", proxied.Status, proxied.Body)
				}
				refusals++
				return
			}
			if proxiedErr != nil {
				t.Fatalf("proxied: %v", proxiedErr)
			}
			got, want := essence(t, proxied), essence(t, direct)
			if who.expect == sameButEmptyGroup {
				if want = strings.Replace(want, `"",`, "", 1); got != want && proxied.Status != 401 {
					t.Fatalf("proxied %s\n direct %s", got, want)
				}
				refusals++
				return
			}
			if got != want {
				t.Fatalf("proxied %s\n direct %s", got, want)
			}
			sameAudit(t, cluster, fmt.Sprintf("direct-%d", number), fmt.Sprintf("proxied-%d", number), direct.Status)
			equal++
		})
	}
	figure(t, "%d identities: %d answered as directly, %d that no field can carry refused or without what is empty", len(all), equal, refusals)
}

// serviceAccountToken makes a token that is bound to a pod, as the pods themselves have.
func serviceAccountToken(ctx context.Context, t *testing.T, cluster *harness.Cluster) string {
	t.Helper()
	const namespace = "identities"
	makeNamespace(ctx, t, cluster, namespace)
	client := clientset(t, cluster.Direct(0, harness.AdminToken)).CoreV1()
	account := must[*corev1.ServiceAccount](t)(client.ServiceAccounts(namespace).Create(ctx,
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "robot"}}, metav1.CreateOptions{}))
	pod := must[*corev1.Pod](t)(client.Pods(namespace).Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "robot"},
		Spec:       corev1.PodSpec{ServiceAccountName: account.Name, Containers: []corev1.Container{{Name: "c", Image: "none"}}},
	}, metav1.CreateOptions{}))
	request := must[*authenticationv1.TokenRequest](t)(client.ServiceAccounts(namespace).CreateToken(ctx, account.Name, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{BoundObjectRef: &authenticationv1.BoundObjectReference{
			APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID,
		}},
	}, metav1.CreateOptions{}))
	// Every server must know pod and account, which each reads from its own cache.
	for i := range cluster.Servers {
		who := identity{token: request.Status.Token}
		for {
			answer, err := review(ctx, who, harnessTarget{cluster.Servers[i].Address, cluster.DirectTLS(nil)}, "")
			if err == nil && answer.Status == 201 {
				break
			}
			if ctx.Err() != nil {
				t.Fatalf("server %d does not take the token: %+v, %v", i, answer, err)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	return request.Status.Token
}

// essence is what must be equal: who was believed, or the whole refusal.
func essence(t *testing.T, response *harness.RawResponse) string {
	t.Helper()
	if response.Status != 201 {
		return fmt.Sprintf("%d %s", response.Status, bytes.TrimSpace(response.Body))
	}
	var body struct {
		Status json.RawMessage `json:"status"`
	}
	if err := json.Unmarshal(response.Body, &body); err != nil {
		t.Fatalf("%v in %s", err, response.Body)
	}
	return fmt.Sprintf("201 %s", body.Status)
}

// sameAudit compares what the audit logs say of the two requests.
func sameAudit(t *testing.T, cluster *harness.Cluster, directID, proxiedID string, status int) {
	t.Helper()
	find := func(id string) *harness.AuditEvent {
		for deadline := time.Now().Add(2 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			for _, events := range must[[][]harness.AuditEvent](t)(cluster.ReadAudit(func(event *harness.AuditEvent) bool { return event.AuditID == id })) {
				for i := range events {
					return &events[i]
				}
			}
			if time.Now().After(deadline) || status == 401 {
				return nil
			}
		}
	}
	direct, proxied := find(directID), find(proxiedID)
	if status == 401 {
		return // The proxy may refuse by itself; then no server has seen anything.
	}
	if direct == nil || proxied == nil {
		t.Fatalf("the audit logs lack an event: direct %+v, proxied %+v", direct, proxied)
	}
	if !reflect.DeepEqual(direct.User, proxied.User) || !reflect.DeepEqual(direct.ImpersonatedUser, proxied.ImpersonatedUser) {
		t.Errorf("audit: proxied user %+v as %+v, direct %+v as %+v", proxied.User, proxied.ImpersonatedUser, direct.User, direct.ImpersonatedUser)
	}
	if want := []string{clientAddress}; !reflect.DeepEqual(direct.SourceIPs, want) {
		t.Errorf("audit: direct source addresses %v, expected %v", direct.SourceIPs, want)
	}
	if want := []string{clientAddress, "127.0.0.1"}; !reflect.DeepEqual(proxied.SourceIPs, want) {
		t.Errorf("audit: proxied source addresses %v, expected %v: the client's and the proxy's", proxied.SourceIPs, want)
	}
}

func review(ctx context.Context, who identity, target harnessTarget, auditID string) (*harness.RawResponse, error) {
	client, err := target.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return client.Do(ctx, reviewRequest(who, auditID, nil, nil))
}

func reviewRequest(who identity, auditID string, added, trailers []harness.Field) harness.RawRequest {
	fields := []harness.Field{{Name: "content-type", Value: "application/json"}, {Name: "user-agent", Value: "identity-test"}}
	if auditID != "" {
		fields = append(fields, harness.Field{Name: "audit-id", Value: auditID})
	}
	if who.token != "" {
		fields = append(fields, bearer(who.token))
	}
	fields = append(append(fields, who.fields...), added...)
	return harness.RawRequest{Method: "POST", Path: reviewPath, Fields: fields, Body: reviewBody, Trailers: trailers}
}

// forgery is one way to claim an identity.
type forgery struct {
	fields, trailers []harness.Field
	malformed        bool // HTTP/2 forbids it: refusing is right, too.
}

// forgeries are the identity fields in every spelling that some implementation somewhere takes for them.
func forgeries() []forgery {
	one := func(name, value string) forgery { return forgery{fields: []harness.Field{{Name: name, Value: value}}} }
	bad := func(name, value string) forgery { f := one(name, value); f.malformed = true; return f }
	all := []forgery{}
	for _, claim := range []struct{ name, value string }{
		{"user", "admin"}, {"group", "system:masters"}, {"uid", "0"}, {"extra-scope", "all"},
	} {
		remote := "x-remote-" + claim.name
		for _, name := range []string{
			remote, strings.ReplaceAll(remote, "-", "_"), strings.Replace(remote, "-", "_", 1), "x-remote_" + claim.name,
			remote + "-", remote + "_", "-" + remote, "x.remote." + claim.name, strings.ReplaceAll(remote, "-", "%2d"), "%78" + remote[1:], "x--remote-" + claim.name,
			"http-" + remote, "x-forwarded-" + claim.name, "x-" + claim.name,
		} {
			all = append(all, one(name, claim.value))
		}
		for _, name := range []string{"X-Remote-" + claim.name, "x-rEmOtE-" + claim.name, " " + remote, remote + " ", remote + ":", remote + "\x00", remote + "\t", "\x0b" + remote, ":" + remote} {
			all = append(all, bad(name, claim.value))
		}
		all = append(all,
			forgery{trailers: []harness.Field{{Name: remote, Value: claim.value}}},
			forgery{trailers: []harness.Field{{Name: strings.ReplaceAll(remote, "-", "_"), Value: claim.value}}},
			forgery{fields: []harness.Field{{Name: "connection", Value: remote}}, malformed: true},
			forgery{fields: []harness.Field{{Name: "te", Value: "trailers, " + remote}}, malformed: true},
			forgery{fields: []harness.Field{{Name: "keep-alive", Value: remote}}, malformed: true},
			forgery{fields: []harness.Field{{Name: "trailer", Value: remote}}, trailers: []harness.Field{{Name: remote, Value: claim.value}}},
			bad("x-padding", "a\r\n"+remote+": "+claim.value),
			one(remote, ""),
			forgery{fields: []harness.Field{{Name: remote, Value: ""}, {Name: remote, Value: claim.value}}},
			forgery{fields: []harness.Field{{Name: remote, Value: "a"}, {Name: "accept", Value: "application/json"}, {Name: remote, Value: claim.value}}},
		)
	}
	return append(all,
		one("x-remote-extra-", "all"),
		one("x-remote-extra-authentication.kubernetes.io%2fcredential-id", "X509SHA256=00"),
		one("x-remote-extra-authentication.kubernetes.io%2Fcredential-id"[:len("x-remote-extra-authentication.kubernetes.io%2")]+"fcredential-id%20", "x"),
		one("x-remote-extra-%73cope", "all"),
		one("x_remote_extra_scope", "all"),
		one("x-remote-anything", "all"),
		forgery{fields: []harness.Field{{Name: "x-remote-user", Value: "admin"}, {Name: "x-remote-group", Value: "system:masters"}, {Name: "x-remote-group", Value: "system:authenticated"}}},
		one("x-forwarded-client-cert", `Subject="CN=admin,O=system:masters"`),
		one("x-ssl-client-s-dn", "CN=admin,O=system:masters"),
		one("x-forwarded-for", "192.0.2.1"),
		forgery{fields: []harness.Field{{Name: "x-forwarded-for", Value: "192.0.2.1"}, {Name: "x-forwarded-for", Value: "192.0.2.2"}}},
		one("x-real-ip", "192.0.2.1"),
		one("forwarded", "for=192.0.2.1"),
		one("x-kubernetes-peer-proxied", "true"),
	)
}

func TestForgedIdentityFieldsChangeNothing(t *testing.T) {
	cluster := sharedCluster(t)
	proxy := startProxy(t, cluster, harness.ProxyOptions{})
	certificate := must[*harness.Pair](t)(cluster.ClientCA.Issue(harness.Leaf{CommonName: "viewer-by-certificate", Organizations: []string{"viewers"}}))
	expired := must[*harness.Pair](t)(cluster.ClientCA.Issue(harness.Leaf{CommonName: "late", NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}))
	for _, honest := range []struct {
		identity
		certificate *harness.Pair
	}{
		{identity{name: "certificate"}, certificate},
		{identity{name: "token", token: harness.ViewerToken}, nil},
		{identity{name: "certificate and token", token: harness.ViewerToken}, certificate},
		{identity{name: "anonymous"}, nil},
		{identity{name: "wrong token", token: "wrong"}, nil},
		{identity{name: "expired certificate"}, expired},
	} {
		t.Run(honest.name, func(t *testing.T) {
			ctx := within(t, 2*time.Minute)
			target := harnessTarget{proxy.Address, proxy.TLS(honest.certificate)}
			forge(ctx, t, cluster, target, honest.identity)
		})
	}
}

func forge(ctx context.Context, t *testing.T, cluster *harness.Cluster, target harnessTarget, who identity) {
	prefix := strings.ReplaceAll(who.name, " ", "-")
	var client *harness.RawClient
	defer func() {
		if client != nil {
			client.Close()
		}
	}()
	send := func(id string, f forgery) (*harness.RawResponse, error) {
		var err error
		if client == nil {
			if client, err = target.dial(ctx); err != nil {
				t.Fatal(err)
			}
		}
		response, err := client.Do(ctx, reviewRequest(who, id, f.fields, f.trailers))
		if err != nil || f.malformed { // It may cost the connection, now or in a moment.
			client.Close()
			client = nil
		}
		return response, err
	}
	baseline, err := send("forged-"+prefix+"-baseline", forgery{})
	if err != nil {
		t.Fatal(err)
	}
	want := essence(t, baseline)
	unchanged, refusals, changed := 0, 0, 0
	all := forgeries()
	for number, f := range all {
		response, err := send(fmt.Sprintf("forged-%s-%d", prefix, number), f)
		switch {
		case ctx.Err() != nil:
			t.Fatal(ctx.Err())
		case err == nil && essence(t, response) == want:
			unchanged++
		case f.malformed && (err != nil || response.Status >= 400 && response.Status < 500):
			refusals++
		default:
			if changed++; changed <= 10 {
				t.Errorf("%+q %+q: %+v, %v\n expected %s", f.fields, f.trailers, response, err, want)
			}
		}
	}

	// The servers' view: every request of ours was the honest user's, from the honest address.
	var believed []string
	for _, events := range must[[][]harness.AuditEvent](t)(cluster.ReadAudit(func(event *harness.AuditEvent) bool {
		return strings.HasPrefix(event.AuditID, "forged-"+prefix+"-")
	})) {
		for _, event := range events {
			view := fmt.Sprintf("%s %v %v %v %v", event.User.Username, event.User.UID, event.User.Groups, event.User.Extra, event.SourceIPs)
			if len(believed) == 0 {
				believed = append(believed, view)
			}
			if view != believed[0] {
				changed++
				t.Errorf("audit %s: %s, others %s", event.AuditID, view, believed[0])
			}
		}
	}
	figure(t, "%d forgeries: %d changed nothing, %d malformed ones refused, %d changed something; believed: %v", len(all), unchanged, refusals, changed, believed)
}
