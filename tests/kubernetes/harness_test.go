// SPDX-License-Identifier: GPL-3.0-or-later
//
// The servers alone, without a proxy: what the other tests compare with must be as they expect.

package kubernetes

import (
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sluice/tests/kubernetes/harness"
)

func TestServersKnowCertificatesAndTokensAndCountRequests(t *testing.T) {
	ctx := within(t, 2*time.Minute)
	started := time.Now()
	cluster := sharedCluster(t)
	figure(t, "etcd and %d servers ready after %.1f s", len(cluster.Servers), time.Since(started).Seconds())

	certificate := must[*harness.Pair](t)(cluster.ClientCA.Issue(harness.Leaf{CommonName: "direct", Organizations: []string{"one", "two"}}))
	const agent = "harness-check"
	for i := range cluster.Servers {
		for range 5 {
			config := cluster.Direct(i, "")
			config.CertData, config.KeyData = certificate.PEM, certificate.KeyPEM
			config.UserAgent = agent
			review, err := clientset(t, config).AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			user := review.Status.UserInfo
			if user.Username != "direct" || len(user.Groups) != 3 {
				t.Fatalf("server %d takes the certificate's user for %+v", i, user)
			}
			if id := user.Extra["authentication.kubernetes.io/credential-id"]; len(id) != 1 || id[0] != certificate.CredentialID() {
				t.Fatalf("server %d: credential id %v, expected %s", i, id, certificate.CredentialID())
			}
		}
	}
	events := must[[][]harness.AuditEvent](t)(cluster.ReadAudit(func(event *harness.AuditEvent) bool { return event.UserAgent == agent }))
	for i, seen := range events {
		if len(seen) != 5 {
			t.Errorf("server %d: the audit log holds %d of 5 requests", i, len(seen))
		}
	}
}
