// SPDX-License-Identifier: GPL-3.0-or-later
//
// The half of the kubelet that runs pods: it takes those of its namespace for its node, starts what
// they name, and reports how that goes.

package harness

import (
	"context"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
)

// podTable is the running pods' containers by NAMESPACE/NAME and by name.
type podTable struct {
	sync.Mutex
	pods map[string]*runningPod
}

type runningPod struct {
	uid        string
	containers map[string]*container
}

func (p *podTable) container(pod, name string) *container {
	p.Lock()
	defer p.Unlock()
	if found := p.pods[pod]; found != nil {
		return found.containers[name]
	}
	return nil
}

func (k *Kubelet) poke() {
	select {
	case k.wake <- struct{}{}:
	default: // It is awake already.
	}
}

// runPods looks at all pods whenever one of them, or one of their programs, has changed.
func (k *Kubelet) runPods(ctx context.Context) {
	defer close(k.finished)
	factory := informers.NewSharedInformerFactoryWithOptions(k.client, 0, informers.WithNamespace(k.Namespace))
	pods := factory.Core().V1().Pods()
	_, _ = pods.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { k.poke() },
		UpdateFunc: func(any, any) { k.poke() },
		DeleteFunc: func(any) { k.poke() },
	})
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	defer k.forget(nil)
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.wake:
		}
		all, _ := pods.Lister().List(labels.Everything())
		known := map[string]string{}
		for _, pod := range all {
			known[pod.Namespace+"/"+pod.Name] = string(pod.UID)
			// What fails is tried again with the pod's next change; a conflict means that one is coming.
			_ = k.attend(ctx, pod)
		}
		k.forget(known)
	}
}

// forget ends the programs of pods that are not known any more.
func (k *Kubelet) forget(known map[string]string) {
	k.pods.Lock()
	defer k.pods.Unlock()
	for name, pod := range k.pods.pods {
		if known[name] == pod.uid {
			continue
		}
		for _, container := range pod.containers {
			endProgram(container.command)
		}
		delete(k.pods.pods, name)
	}
}

func (k *Kubelet) attend(ctx context.Context, pod *corev1.Pod) error {
	client := k.client.CoreV1().Pods(pod.Namespace)
	switch {
	case pod.Spec.NodeName == "":
		return client.Bind(ctx, &corev1.Binding{
			ObjectMeta: metav1.ObjectMeta{Name: pod.Name, Namespace: pod.Namespace, UID: pod.UID},
			Target:     corev1.ObjectReference{Kind: "Node", Name: k.Node},
		}, metav1.CreateOptions{})
	case pod.Spec.NodeName != k.Node:
		return nil
	case pod.DeletionTimestamp != nil:
		at := int64(0)
		return client.Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &at, Preconditions: metav1.NewUIDPreconditions(string(pod.UID))})
	}
	status := k.run(pod)
	if equality.Semantic.DeepEqual(status, pod.Status) {
		return nil
	}
	changed := pod.DeepCopy()
	changed.Status = status
	_, err := client.UpdateStatus(ctx, changed, metav1.UpdateOptions{})
	return err
}

// run starts what of a pod does not run yet, and tells its status.
func (k *Kubelet) run(pod *corev1.Pod) corev1.PodStatus {
	k.pods.Lock()
	defer k.pods.Unlock()
	name := pod.Namespace + "/" + pod.Name
	running := k.pods.pods[name]
	if running == nil || running.uid != string(pod.UID) {
		running = &runningPod{uid: string(pod.UID), containers: map[string]*container{}}
		if k.pods.pods == nil {
			k.pods.pods = map[string]*runningPod{}
		}
		k.pods.pods[name] = running
	}
	status := *pod.Status.DeepCopy()
	status.HostIP, status.PodIP, status.PodIPs = "127.0.0.1", "127.0.0.1", []corev1.PodIP{{IP: "127.0.0.1"}}
	status.HostIPs = []corev1.HostIP{{IP: "127.0.0.1"}}
	if status.StartTime == nil {
		now := metav1.Now().Rfc3339Copy()
		status.StartTime = &now
	}
	status.ContainerStatuses, status.EphemeralContainerStatuses = nil, nil
	for i := range pod.Spec.Containers {
		status.ContainerStatuses = append(status.ContainerStatuses, k.ensure(running, &pod.Spec.Containers[i]))
	}
	for i := range pod.Spec.EphemeralContainers {
		spec := corev1.Container(pod.Spec.EphemeralContainers[i].EphemeralContainerCommon)
		status.EphemeralContainerStatuses = append(status.EphemeralContainerStatuses, k.ensure(running, &spec))
	}
	status.Phase = phase(status.ContainerStatuses)
	ready := corev1.ConditionFalse
	if status.Phase == corev1.PodRunning {
		ready = corev1.ConditionTrue
	}
	status.Conditions = nil
	for _, kind := range []corev1.PodConditionType{corev1.PodInitialized, corev1.PodScheduled, corev1.ContainersReady, corev1.PodReady} {
		state := corev1.ConditionTrue
		if kind == corev1.ContainersReady || kind == corev1.PodReady {
			state = ready
		}
		status.Conditions = append(status.Conditions, corev1.PodCondition{Type: kind, Status: state})
	}
	return status
}

// ensure starts a container once.
func (k *Kubelet) ensure(pod *runningPod, spec *corev1.Container) corev1.ContainerStatus {
	if known := pod.containers[spec.Name]; known != nil {
		return known.status()
	}
	started, err := startContainer(spec, k.Dir, k.poke)
	if err != nil {
		return corev1.ContainerStatus{Name: spec.Name, Image: spec.Image, State: corev1.ContainerState{
			Waiting: &corev1.ContainerStateWaiting{Reason: "RunContainerError", Message: fmt.Sprint(err)},
		}}
	}
	pod.containers[spec.Name] = started
	return started.status()
}

// phase is that of a pod whose containers are never started again.
func phase(containers []corev1.ContainerStatus) corev1.PodPhase {
	failed := false
	for _, container := range containers {
		switch {
		case container.State.Running != nil:
			return corev1.PodRunning
		case container.State.Terminated == nil:
			return corev1.PodPending
		}
		failed = failed || container.State.Terminated.ExitCode != 0
	}
	if failed {
		return corev1.PodFailed
	}
	return corev1.PodSucceeded
}
