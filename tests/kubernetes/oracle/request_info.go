// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bufio"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"

	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metainternalversionscheme "k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/endpoints/request"
)

// Verbs and subresources without a deadline, as kube-apiserver configures its long-running check.
var longRunningVerbs = sets.NewString("watch", "proxy")
var longRunningSubresources = sets.NewString("attach", "exec", "proxy", "log", "portforward")

func requestInfo(in *bufio.Scanner, out *bufio.Writer) error {
	// The resolver logs every query that does not decode; only the verdict matters here.
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	os.Stderr = null
	resolver := &request.RequestInfoFactory{
		APIPrefixes:          sets.NewString("api", "apis"),
		GrouplessAPIPrefixes: sets.NewString("api"),
	}
	for in.Scan() {
		method, path, found := strings.Cut(in.Text(), " ")
		if !found {
			return fmt.Errorf("not METHOD PATH: %q", in.Text())
		}
		target, err := url.ParseRequestURI(path)
		if err != nil {
			fmt.Fprintln(out, "refused")
			continue
		}
		info, err := resolver.NewRequestInfo(&http.Request{Method: method, URL: target})
		columns := []string{
			info.Verb, flag(info.IsResourceRequest), info.APIPrefix, info.APIGroup, info.APIVersion,
			info.Namespace, info.Resource, info.Subresource, info.Name, info.FieldSelector,
			info.LabelSelector, flag(err != nil), flag(longRunning(info)), info.Path,
			listOptions(info, err, target.Query()),
		}
		for i, column := range columns {
			if i > 0 {
				out.WriteByte('\t')
			}
			out.WriteString(escape(column))
		}
		out.WriteByte('\n')
	}
	return in.Err()
}

func longRunning(info *request.RequestInfo) bool {
	if longRunningVerbs.Has(info.Verb) {
		return true
	}
	if info.IsResourceRequest {
		return longRunningSubresources.Has(info.Subresource)
	}
	return strings.HasPrefix(info.Path, "/debug/pprof/")
}

// listOptions prints what the server would do with the query of a list or a watch, "-" elsewhere.
func listOptions(info *request.RequestInfo, failed error, query url.Values) string {
	if failed != nil || !info.IsResourceRequest || (info.Verb != "list" && info.Verb != "watch") {
		return "-"
	}
	options := metainternalversion.ListOptions{}
	codec := metainternalversionscheme.ParameterCodec
	if err := codec.DecodeParameters(query, metav1.SchemeGroupVersion, &options); err != nil {
		return "invalid"
	}
	initial := "unset"
	if options.SendInitialEvents != nil {
		initial = flag(*options.SendInitialEvents)
	}
	timeout := "unset"
	if options.TimeoutSeconds != nil {
		timeout = fmt.Sprint(*options.TimeoutSeconds)
	}
	return fmt.Sprintf("rv=%s,match=%s,limit=%d,timeout=%s,initial=%s,continue=%s",
		options.ResourceVersion, flag(options.ResourceVersionMatch != ""), options.Limit, timeout,
		initial, options.Continue)
}

func flag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}
