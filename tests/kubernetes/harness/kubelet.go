// SPDX-License-Identifier: GPL-3.0-or-later
//
// A kubelet as API servers see one: it has a node, runs the pods of one namespace (as programs of
// this machine), and serves their exec, attach, port-forward and logs with the code that container
// runtimes use.

package harness

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"
)

const (
	// streamIdle is how long a kubelet lets a stream be silent: as long as a real one by default.
	streamIdle     = 4 * time.Hour
	streamCreation = remotecommand.DefaultStreamCreationTimeout
)

// Kubelet is a running kubelet.
type Kubelet struct {
	Node      string
	Namespace string // Of the pods that it runs.
	Dir       string // Where their programs start.

	client   *kubernetes.Clientset
	server   *http.Server
	pods     podTable
	wake     chan struct{}
	stop     context.CancelFunc
	finished chan struct{}
}

// StartKubelet starts a kubelet that reports to one of the servers; all servers reach it.
func (c *Cluster) StartKubelet(server int, namespace string) (_ *Kubelet, err error) {
	k := &Kubelet{Node: "node-" + namespace, Namespace: namespace, wake: make(chan struct{}, 1), finished: make(chan struct{})}
	if k.client, err = kubernetes.NewForConfig(c.Direct(server, AdminToken)); err != nil {
		return nil, err
	}
	if k.Dir, err = os.MkdirTemp("", "sluice-kubelet-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(k.Dir)
		}
	}()
	serving, err := c.CA.Issue(Leaf{CommonName: "system:node:" + k.Node, Serving: true})
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	k.server = &http.Server{
		Handler: k.handler(),
		TLSConfig: &tls.Config{
			Certificates: []tls.Certificate{serving.TLS},
			ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: c.ClientCA.Pool(),
			NextProtos: []string{"h2", "http/1.1"},
		},
		ErrorLog: log.New(io.Discard, "", 0),
	}
	go func() { _ = k.server.ServeTLS(listener, "", "") }()
	ctx, stop := context.WithCancel(context.Background())
	k.stop = stop
	if err = k.register(ctx, listener.Addr().(*net.TCPAddr).Port); err != nil {
		stop()
		_ = k.server.Close()
		return nil, err
	}
	go k.runPods(ctx)
	return k, nil
}

// register makes the node.
func (k *Kubelet) register(ctx context.Context, port int) error {
	_, err := k.client.CoreV1().Nodes().Create(ctx, &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: k.Node},
		Status: corev1.NodeStatus{
			Addresses:       []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "127.0.0.1"}},
			DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: int32(port)}},
			Conditions:      []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady"}},
		},
	}, metav1.CreateOptions{})
	return err
}

// Close ends the kubelet, its pods' programs, and its node.
func (k *Kubelet) Close() {
	k.stop()
	<-k.finished
	_ = k.server.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = k.client.CoreV1().Nodes().Delete(ctx, k.Node, metav1.DeleteOptions{})
	_ = os.RemoveAll(k.Dir)
}

// handler serves the paths of a kubelet that API servers use.
func (k *Kubelet) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/exec/{namespace}/{pod}/{container}", k.serveExec)
	mux.HandleFunc("/attach/{namespace}/{pod}/{container}", k.serveAttach)
	mux.HandleFunc("/portForward/{namespace}/{pod}", k.servePortForward)
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", k.serveLogs)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	return mux
}

// find answers 404 where there is no such container.
func (k *Kubelet) find(w http.ResponseWriter, request *http.Request) *container {
	found := k.pods.container(request.PathValue("namespace")+"/"+request.PathValue("pod"), request.PathValue("container"))
	if found == nil {
		http.Error(w, fmt.Sprintf("container not found (%q)", request.PathValue("container")), http.StatusNotFound)
	}
	return found
}

func (k *Kubelet) serveExec(w http.ResponseWriter, request *http.Request) {
	options, err := remotecommand.NewOptions(request)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	words := request.URL.Query()["command"]
	if len(words) == 0 {
		http.Error(w, "no command", http.StatusBadRequest)
		return
	}
	if found := k.find(w, request); found == nil {
		return
	} else if !found.running() {
		http.Error(w, "the container has ended", http.StatusInternalServerError)
		return
	}
	executor := executor{k, options}
	remotecommand.ServeExec(w, request, executor, request.PathValue("pod"), "", request.PathValue("container"), words,
		options, streamIdle, streamCreation, remotecommand.SupportedStreamingProtocols)
}

func (k *Kubelet) serveAttach(w http.ResponseWriter, request *http.Request) {
	options, err := remotecommand.NewOptions(request)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if found := k.find(w, request); found != nil {
		remotecommand.ServeAttach(w, request, attacher{found, options}, request.PathValue("pod"), "", request.PathValue("container"),
			options, streamIdle, streamCreation, remotecommand.SupportedStreamingProtocols)
	}
}

func (k *Kubelet) servePortForward(w http.ResponseWriter, request *http.Request) {
	options, err := portforward.NewV4Options(request)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	portforward.ServePortForward(w, request, forwarder{}, request.PathValue("pod"), "", options, streamIdle, streamCreation, portforward.SupportedProtocols)
}

func (k *Kubelet) serveLogs(w http.ResponseWriter, request *http.Request) {
	found := k.find(w, request)
	if found == nil {
		return
	}
	ctx := request.Context()
	if request.FormValue("follow") != "true" {
		ended, end := context.WithCancel(ctx)
		end() // What is there, and no waiting.
		ctx = ended
	}
	from := 0
	if tail, err := strconv.Atoi(request.FormValue("tailLines")); err == nil {
		from = max(0, found.position()-tail) // Programs of the tests write a line at a time.
	}
	w.Header().Set("Content-Type", "text/plain")
	_ = found.follow(ctx, from, func(piece output) error {
		if _, err := w.Write(piece.bytes); err != nil {
			return err
		}
		return http.NewResponseController(w).Flush()
	})
}

// executor runs commands beside a container.
type executor struct {
	kubelet *Kubelet
	options *remotecommand.Options
}

func (e executor) ExecInContainer(ctx context.Context, _, _, _ string, words []string, in io.Reader, out, errors io.WriteCloser,
	tty bool, resize <-chan remotecommand.TerminalSize, _ time.Duration) error {
	command := program(words, e.kubelet.Dir)
	defer endProgram(command)
	if tty {
		return runOnTerminal(command, in, out, resize)
	}
	if e.options.Stdout {
		command.Stdout = out
	}
	if e.options.Stderr {
		command.Stderr = errors
	}
	if e.options.Stdin {
		// Not Stdin itself: a client that keeps its input open must not keep the command's end from it.
		pipe, err := command.StdinPipe()
		if err != nil {
			return err
		}
		go func() {
			_, _ = io.Copy(pipe, in)
			_ = pipe.Close()
		}()
	}
	if err := command.Start(); err != nil {
		return err
	}
	return ending(command.Wait())
}

// ending is how a command ended, as clients are told.
func ending(err error) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	code := exitCode(err)
	return utilexec.CodeExitError{Err: fmt.Errorf("exit status %d", code), Code: code}
}

func runOnTerminal(command *exec.Cmd, in io.Reader, out io.Writer, resize <-chan remotecommand.TerminalSize) error {
	master, slave, err := OpenTerminal()
	if err != nil {
		return err
	}
	defer master.Close()
	OnTerminal(command, slave)
	// The first size is there before the program asks for it.
	if size, ok := <-resize; ok {
		_ = ResizeTerminal(master, size.Width, size.Height)
	}
	err = command.Start()
	slave.Close()
	if err != nil {
		return err
	}
	go func() {
		for size := range resize {
			_ = ResizeTerminal(master, size.Width, size.Height)
		}
	}()
	if in != nil {
		go func() { _, _ = io.Copy(master, in) }()
	}
	shown := make(chan struct{})
	go func() {
		defer close(shown)
		_, _ = io.Copy(out, master) // Ends when no program has the other end.
	}()
	err = ending(command.Wait())
	<-shown
	return err
}

// attacher joins clients to a container.
type attacher struct {
	container *container
	options   *remotecommand.Options
}

func (a attacher) AttachContainer(ctx context.Context, _, _, _ string, in io.Reader, out, errors io.WriteCloser, _ bool, _ <-chan remotecommand.TerminalSize) error {
	var input io.Reader
	var to, toErrors io.Writer
	if a.options.Stdin {
		input = in
	}
	if a.options.Stdout {
		to = out
	}
	if a.options.Stderr {
		toErrors = errors
	}
	return a.container.attach(ctx, input, to, toErrors)
}

// forwarder takes a pod's ports for those of this machine.
type forwarder struct{}

func (forwarder) PortForward(ctx context.Context, _, _ string, port int32, stream io.ReadWriteCloser) error {
	defer stream.Close()
	var dialer net.Dialer
	connection, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", fmt.Sprint(port)))
	if err != nil {
		return err
	}
	defer connection.Close()
	go func() {
		_, _ = io.Copy(connection, stream)
		_ = connection.(*net.TCPConn).CloseWrite()
	}()
	_, err = io.Copy(stream, connection)
	return err
}
