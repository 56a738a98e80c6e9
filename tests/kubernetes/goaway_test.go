// SPDX-License-Identifier: GPL-3.0-or-later
//
// Servers that send GOAWAY at random and clients that provoke it: the raw client, which repeats
// nothing, must notice neither.

package kubernetes

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sluice/tests/kubernetes/harness"
)

const (
	goawayGets        = 10000
	goawayPosts       = 3000
	goawayPostBytes   = 100_000
	goawayConcurrency = 8
	goawaysExpected   = 100
	// Two workers, three servers, three kinds of pools, and what drains beside them.
	backendConnectionsMax = 120
)

func TestGoawaysOfServersReachNoClient(t *testing.T) {
	sluiceBinary(t)
	cluster := ownCluster(t, harness.ClusterOptions{GoawayChance: 0.02})
	t.Run("alone", func(t *testing.T) { goawaysReachNoClient(t, cluster, "alone", 0) })
	t.Run("beside-wrong-tokens", func(t *testing.T) { goawaysReachNoClient(t, cluster, "beside", 4) })
}

// rawIdentity is a connection of the raw client with the fields that every request on it carries.
type rawIdentity struct {
	client *harness.RawClient
	fields []harness.Field
}

func bearer(token string) harness.Field {
	return harness.Field{Name: "authorization", Value: "Bearer " + token}
}

func goawaysReachNoClient(t *testing.T, cluster *harness.Cluster, namespace string, attackers int) {
	ctx := within(t, 5*time.Minute)
	proxy := startProxy(t, cluster, harness.ProxyOptions{})
	makeNamespace(ctx, t, cluster, namespace)
	direct := clientset(t, cluster.Direct(0, harness.AdminToken)).CoreV1().ConfigMaps(namespace)
	if _, err := direct.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "small"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // The next run needs the memory.
		_ = direct.DeleteCollection(context.Background(), metav1.DeleteOptions{}, metav1.ListOptions{})
	})

	identities := []rawIdentity{
		{dialProxy(ctx, t, proxy, nil), []harness.Field{bearer(harness.TesterToken)}},
		{dialProxy(ctx, t, proxy, testerCertificate(t, cluster)), nil},
	}
	watches := openWatches(ctx, t, identities, namespace)
	connections := watchConnections(t, cluster.Addresses())
	attack := startAttack(ctx, t, proxy, attackers)

	started := time.Now()
	failedGets := sendAll(ctx, t, "GET", goawayGets, func(number int) (*harness.RawResponse, error) {
		identity := identities[number%len(identities)]
		return identity.client.Do(ctx, harness.RawRequest{
			Method: "GET", Path: "/api/v1/namespaces/" + namespace + "/configmaps/small", Fields: identity.fields,
		})
	}, 200)
	getsDone := time.Now()
	failedPosts := sendAll(ctx, t, "POST", goawayPosts, func(number int) (*harness.RawResponse, error) {
		identity := identities[number%len(identities)]
		fields := append([]harness.Field{
			{Name: "content-type", Value: "application/json"},
			{Name: "audit-id", Value: fmt.Sprintf("%s-%d", namespace, number)},
		}, identity.fields...)
		return identity.client.Do(ctx, harness.RawRequest{
			Method: "POST", Path: "/api/v1/namespaces/" + namespace + "/configmaps", Fields: fields,
			Body: largeObject(t, fmt.Sprintf("large-%d", number), goawayPostBytes),
		})
	}, 201)
	postsDone := time.Now()
	refused, unexpected := attack()
	mostConnections := connections()
	endedWatches := 0
	for _, watch := range watches {
		if over, err := watch.Over(); over {
			if endedWatches++; endedWatches <= 3 {
				t.Errorf("a watch has ended: %v", err)
			}
		}
	}
	once, never, often := countExecutions(t, cluster, namespace)
	goaways, names, err := proxy.Metric("goaway")
	if err != nil {
		t.Error(err)
	}
	ownGoaways := 0
	for _, identity := range identities {
		ownGoaways += identity.client.Goaways()
	}

	figure(t, "%d GETs in %.1f s, %d failed; %d POSTs of %d KB in %.1f s, %d failed, executed once %d, never %d, more often %d; "+
		"%d of %d watches ended; GOAWAYs from servers %.0f, to the clients %d; wrong tokens refused %d; backend connections at most %d (%s)",
		goawayGets, getsDone.Sub(started).Seconds(), failedGets,
		goawayPosts, goawayPostBytes/1000, postsDone.Sub(getsDone).Seconds(), failedPosts, once, never, often,
		endedWatches, len(watches), goaways, ownGoaways, refused, mostConnections, strings.Join(names, ", "))

	if failedGets+failedPosts > 0 {
		t.Errorf("%d GETs and %d POSTs failed", failedGets, failedPosts)
	}
	if once != goawayPosts || never+often > 0 {
		t.Errorf("of %d POSTs %d were executed once, %d never, %d more often", goawayPosts, once, never, often)
	}
	if endedWatches > 0 {
		t.Errorf("%d watches ended", endedWatches)
	}
	if goaways < goawaysExpected {
		t.Errorf("only %.0f GOAWAYs seen: too few to tell anything", goaways)
	}
	if mostConnections > backendConnectionsMax {
		t.Errorf("%d backend connections at once, above %d", mostConnections, backendConnectionsMax)
	}
	if unexpected > 0 {
		t.Errorf("%d requests with a wrong token got something else than 401", unexpected)
	}
	if attackers > 0 && refused < 100 {
		t.Errorf("only %d requests with a wrong token: too few to tell anything", refused)
	}
}

func dialProxy(ctx context.Context, t *testing.T, proxy *harness.Proxy, certificate *harness.Pair) *harness.RawClient {
	t.Helper()
	client := must[*harness.RawClient](t)(harness.DialRaw(ctx, proxy.Address, "", proxy.TLS(certificate)))
	t.Cleanup(client.Close)
	return client
}

// openWatches opens quiet and busy watches for each identity.
func openWatches(ctx context.Context, t *testing.T, identities []rawIdentity, namespace string) []*harness.RawStream {
	t.Helper()
	var watches []*harness.RawStream
	for _, identity := range identities {
		for i := range 10 {
			resource := []string{"secrets", "configmaps?fieldSelector=metadata.name=small"}[i%2]
			separator := "?"
			if strings.Contains(resource, "?") {
				separator = "&"
			}
			watch := must[*harness.RawStream](t)(identity.client.Open(ctx, harness.RawRequest{
				Method: "GET", Path: "/api/v1/namespaces/" + namespace + "/" + resource + separator + "watch=1&allowWatchBookmarks=true&timeoutSeconds=3600",
				Fields: identity.fields,
			}))
			if head, err := watch.WaitHead(ctx); err != nil || head.Status != 200 {
				t.Fatalf("watch %d: %+v, %v", i, head, err)
			}
			watches = append(watches, watch)
		}
	}
	return watches
}

// sendAll sends numbered requests, several at a time, and counts those without the expected status.
func sendAll(ctx context.Context, t *testing.T, what string, count int, send func(int) (*harness.RawResponse, error), status int) int {
	t.Helper()
	var next, failed atomic.Int64
	var working sync.WaitGroup
	for range goawayConcurrency {
		working.Go(func() {
			for ctx.Err() == nil {
				number := int(next.Add(1))
				if number > count {
					return
				}
				response, err := send(number)
				if err == nil && response.Status == status {
					continue
				}
				if failed.Add(1) <= 5 {
					if err != nil {
						t.Errorf("%s %d: %v", what, number, err)
					} else {
						t.Errorf("%s %d: %d %.300s", what, number, response.Status, response.Body)
					}
				}
			}
		})
	}
	working.Wait()
	if ctx.Err() != nil {
		t.Fatalf("%ss: %v", what, ctx.Err())
	}
	return int(failed.Load())
}

func largeObject(t *testing.T, name string, size int) []byte {
	t.Helper()
	return must[[]byte](t)(json.Marshal(&corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Data:       map[string]string{"bytes": strings.Repeat("x", size)},
	}))
}

// countExecutions finds each POST in the audit logs by the id that it carried.
func countExecutions(t *testing.T, cluster *harness.Cluster, namespace string) (once, never, often int) {
	t.Helper()
	executions := map[string]int{}
	created := func(event *harness.AuditEvent) bool {
		return event.Verb == "create" && event.ObjectRef.Namespace == namespace &&
			event.Stage == harness.StageComplete && strings.HasPrefix(event.AuditID, namespace+"-")
	}
	countShares(t, cluster, created, goawayPosts)
	for _, events := range must[[][]harness.AuditEvent](t)(cluster.ReadAudit(created)) {
		for _, event := range events {
			executions[event.AuditID]++
		}
	}
	for number := 1; number <= goawayPosts; number++ {
		switch executions[fmt.Sprintf("%s-%d", namespace, number)] {
		case 0:
			never++
		case 1:
			once++
		default:
			often++
		}
	}
	return once, never, often
}

// startAttack runs loops that send nothing but wrong tokens, each a new one. The returned function
// ends them and tells how many were refused with 401, and how many got something else.
func startAttack(ctx context.Context, t *testing.T, proxy *harness.Proxy, loops int) func() (refused, unexpected int64) {
	t.Helper()
	attacking, stop := context.WithCancel(ctx)
	var refused, unexpected, told atomic.Int64
	var working sync.WaitGroup
	for loop := range loops {
		client := dialProxy(ctx, t, proxy, nil)
		working.Go(func() {
			for number := 0; attacking.Err() == nil; number++ {
				response, err := client.Do(ctx, harness.RawRequest{
					Method: "GET", Path: "/api/v1/namespaces/default/configmaps",
					Fields: []harness.Field{bearer(fmt.Sprintf("wrong-%d-%d", loop, number))},
				})
				if err == nil && response.Status == 401 {
					refused.Add(1)
					continue
				}
				unexpected.Add(1)
				if told.Add(1) <= 3 {
					t.Errorf("wrong token: %+v, %v", response, err)
				}
				if err != nil {
					return
				}
			}
		})
	}
	return func() (int64, int64) {
		stop()
		working.Wait()
		return refused.Load(), unexpected.Load()
	}
}

// watchConnections looks at the connections to the servers until the returned function is called,
// which tells the largest number.
func watchConnections(t *testing.T, addresses []string) func() int {
	t.Helper()
	most := 0
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Millisecond):
				if count, err := harness.Connections(addresses); err == nil {
					most = max(most, count)
				}
			}
		}
	}()
	return func() int {
		close(stop)
		<-done
		return most
	}
}
