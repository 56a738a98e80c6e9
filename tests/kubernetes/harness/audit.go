// SPDX-License-Identifier: GPL-3.0-or-later
//
// What the API servers saw, read from their audit logs. These are the only witnesses
// that the proxy cannot influence.

package harness

import (
	"bufio"
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"time"
)

// AuditEvent holds the fields of an audit.k8s.io/v1 Event that tests read.
type AuditEvent struct {
	AuditID    string `json:"auditID"`
	Stage      string `json:"stage"`
	RequestURI string `json:"requestURI"`
	Verb       string `json:"verb"`
	UserAgent  string `json:"userAgent"`
	User       struct {
		Username string              `json:"username"`
		UID      string              `json:"uid"`
		Groups   []string            `json:"groups"`
		Extra    map[string][]string `json:"extra"`
	} `json:"user"`
	ImpersonatedUser *struct {
		Username string `json:"username"`
	} `json:"impersonatedUser"`
	SourceIPs []string `json:"sourceIPs"`
	ObjectRef struct {
		Resource  string `json:"resource"`
		Namespace string `json:"namespace"`
		Name      string `json:"name"`
	} `json:"objectRef"`
	ResponseStatus struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
	Received time.Time `json:"requestReceivedTimestamp"`
	At       time.Time `json:"stageTimestamp"`
}

// Stages of a request: a long-running one has both, any other only the second.
const (
	StageStarted  = "ResponseStarted"
	StageComplete = "ResponseComplete"
)

// CostsAsList tells whether the request makes the server send a whole collection: a LIST, or a
// watch that asks for the initial events.
func (e *AuditEvent) CostsAsList() bool {
	if e.Verb == "list" {
		return true
	}
	if e.Verb != "watch" {
		return false
	}
	location, err := url.ParseRequestURI(e.RequestURI)
	return err == nil && location.Query().Get("sendInitialEvents") == "true"
}

// ReadAudit returns the events of a log that keep accepts. A line that is still being written is
// left for the next time.
func ReadAudit(file string, keep func(*AuditEvent) bool) ([]AuditEvent, error) {
	log, err := os.Open(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer log.Close()
	var events []AuditEvent
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var event AuditEvent
		if json.Unmarshal(lines.Bytes(), &event) != nil {
			continue
		}
		if keep(&event) {
			events = append(events, event)
		}
	}
	return events, lines.Err()
}
