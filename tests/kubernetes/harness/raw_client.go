// SPDX-License-Identifier: GPL-3.0-or-later
//
// An HTTP/2 client that does what it is told and nothing more: one connection, fields exactly as
// given (malformed ones too), no retry of any kind. Whatever the proxy fails to absorb shows here,
// where an ordinary client's transport would hide it.

package harness

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	rawStreamWindow     = 4 << 20
	rawConnectionWindow = 1 << 30
)

// Field is one header field.
type Field struct{ Name, Value string }

// RawRequest is a request as it goes on the wire.
type RawRequest struct {
	Method, Path string
	Authority    string // Default: the proxy's name.
	Fields       []Field
	Body         []byte
	Trailers     []Field
	// Pause is slept before each DATA frame, so that an upload takes a while.
	Pause time.Duration
	// Breaks: nothing of the body is sent, and its direction ends when the answer has begun (as curl
	// 7.88 does when that is an error).
	Breaks bool
}

// RawResponse is a whole answer.
type RawResponse struct {
	Status   int
	Fields   []Field
	Body     []byte
	Trailers []Field
	// HeadOnly: the head ended the stream; no DATA frame came.
	HeadOnly bool
	// EarlyReset is the code of the RST_STREAM that asked us to stop an upload after the whole
	// answer had come; nil if there was none.
	EarlyReset *http2.ErrCode
}

// Value returns the first field of a name.
func (r *RawResponse) Value(name string) string {
	for _, field := range r.Fields {
		if field.Name == name {
			return field.Value
		}
	}
	return ""
}

// StreamReset is the error of a stream that the other side has reset.
type StreamReset struct{ Code http2.ErrCode }

func (e StreamReset) Error() string { return fmt.Sprintf("RST_STREAM %v", e.Code) }

// ErrGoaway is the error of a request on a connection that takes no more of them.
var ErrGoaway = errors.New("the connection got a GOAWAY")

// RawClient is one connection.
type RawClient struct {
	conn   net.Conn
	framer *http2.Framer

	mutex         sync.Mutex
	changed       *sync.Cond
	encoder       *hpack.Encoder
	encoded       bytes.Buffer
	streams       map[uint32]*RawStream
	nextID        uint32
	sendWindow    int64
	initialWindow int64
	maxFrame      int
	goaways       int
	failure       error
	acknowledged  bool
}

// RawStream is one request on its way.
type RawStream struct {
	client     *RawClient
	id         uint32
	sendWindow int64
	response   RawResponse
	haveHead   bool
	uploading  bool
	ended      bool
	failure    error
}

// DialRaw connects and exchanges the prefaces. The source address may be "".
func DialRaw(ctx context.Context, address, source string, config *tls.Config) (*RawClient, error) {
	config = config.Clone()
	config.NextProtos = []string{"h2"}
	dialer := tls.Dialer{Config: config, NetDialer: &net.Dialer{}}
	if source != "" {
		dialer.NetDialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(source)}
	}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if protocol := conn.(*tls.Conn).ConnectionState().NegotiatedProtocol; protocol != "h2" {
		conn.Close()
		return nil, fmt.Errorf("negotiated protocol is %q, not h2", protocol)
	}
	c := &RawClient{
		conn:          conn,
		framer:        http2.NewFramer(conn, conn),
		streams:       map[uint32]*RawStream{},
		nextID:        1,
		sendWindow:    65535,
		initialWindow: 65535,
		maxFrame:      16384,
	}
	c.changed = sync.NewCond(&c.mutex)
	c.encoder = hpack.NewEncoder(&c.encoded)
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.framer.MaxHeaderListSize = 1 << 20
	// What the client sends is the test's business, also where no client should send it.
	c.framer.AllowIllegalWrites = true
	if _, err = conn.Write([]byte(http2.ClientPreface)); err == nil {
		err = c.framer.WriteSettings(
			http2.Setting{ID: http2.SettingEnablePush, Val: 0},
			http2.Setting{ID: http2.SettingInitialWindowSize, Val: rawStreamWindow})
	}
	if err == nil {
		err = c.framer.WriteWindowUpdate(0, rawConnectionWindow-65535)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	go c.receive()
	// The other side's settings hold the windows and limits to respect.
	c.mutex.Lock()
	defer c.mutex.Unlock()
	defer c.wakeAt(ctx)()
	for !c.acknowledged && c.failure == nil && ctx.Err() == nil {
		c.changed.Wait()
	}
	if c.failure != nil {
		return nil, c.failure
	}
	return c, ctx.Err()
}

// Close ends the connection.
func (c *RawClient) Close() { c.conn.Close() }

// Goaways is the number of GOAWAY frames received.
func (c *RawClient) Goaways() int {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.goaways
}

// Do sends a request and waits for the whole answer.
func (c *RawClient) Do(ctx context.Context, request RawRequest) (*RawResponse, error) {
	stream, err := c.Open(ctx, request)
	if err != nil {
		return nil, err
	}
	return stream.Wait(ctx)
}

// Open sends a request and returns while its answer is under way.
func (c *RawClient) Open(ctx context.Context, request RawRequest) (*RawStream, error) {
	stream, err := c.sendHead(request)
	if err != nil {
		return nil, err
	}
	if len(request.Body) > 0 || len(request.Trailers) > 0 {
		if err := stream.sendBody(ctx, request); err != nil {
			return nil, err
		}
	}
	return stream, nil
}

// Wait waits for the end of the answer.
func (s *RawStream) Wait(ctx context.Context) (*RawResponse, error) {
	return s.wait(ctx, func() bool { return false })
}

// WaitHead waits until the answer has begun.
func (s *RawStream) WaitHead(ctx context.Context) (*RawResponse, error) {
	return s.wait(ctx, func() bool { return s.haveHead })
}

// Over tells whether the stream has ended, and how.
func (s *RawStream) Over() (bool, error) {
	s.client.mutex.Lock()
	defer s.client.mutex.Unlock()
	return s.ended || s.failure != nil, s.failure
}

// Cancel resets the stream.
func (s *RawStream) Cancel() {
	s.client.mutex.Lock()
	defer s.client.mutex.Unlock()
	if !s.ended && s.failure == nil {
		s.failure = context.Canceled
		delete(s.client.streams, s.id)
		_ = s.client.framer.WriteRSTStream(s.id, http2.ErrCodeCancel)
	}
}

func (s *RawStream) wait(ctx context.Context, enough func() bool) (*RawResponse, error) {
	c := s.client
	c.mutex.Lock()
	defer c.mutex.Unlock()
	defer c.wakeAt(ctx)()
	for {
		if s.failure != nil {
			return nil, s.failure
		}
		if s.ended || enough() {
			copied := s.response
			return &copied, nil
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("stream %d: %w", s.id, ctx.Err())
		}
		c.changed.Wait()
	}
}

// wakeAt makes waiters look at the context when it ends.
func (c *RawClient) wakeAt(ctx context.Context) func() bool {
	return context.AfterFunc(ctx, func() {
		c.mutex.Lock()
		defer c.mutex.Unlock()
		c.changed.Broadcast()
	})
}

func (c *RawClient) sendHead(request RawRequest) (*RawStream, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.failure != nil {
		return nil, c.failure
	}
	if c.goaways > 0 {
		return nil, ErrGoaway
	}
	authority := request.Authority
	if authority == "" {
		authority = ProxyName
	}
	fields := append([]Field{
		{":method", request.Method}, {":scheme", "https"}, {":authority", authority}, {":path", request.Path},
	}, request.Fields...)
	if len(request.Body) > 0 && len(request.Trailers) == 0 {
		fields = append(fields, Field{"content-length", strconv.Itoa(len(request.Body))})
	}
	hasBody := len(request.Body) > 0 || len(request.Trailers) > 0
	stream := &RawStream{client: c, id: c.nextID, sendWindow: c.initialWindow, uploading: hasBody}
	c.nextID += 2
	c.streams[stream.id] = stream
	return stream, c.writeFields(stream.id, fields, !hasBody)
}

func (c *RawClient) writeFields(id uint32, fields []Field, last bool) error {
	c.encoded.Reset()
	for _, field := range fields {
		if err := c.encoder.WriteField(hpack.HeaderField{Name: field.Name, Value: field.Value}); err != nil {
			return err
		}
	}
	block := c.encoded.Bytes()
	for first := true; first || len(block) > 0; first = false {
		piece := block[:min(len(block), c.maxFrame)]
		block = block[len(piece):]
		var err error
		if first {
			err = c.framer.WriteHeaders(http2.HeadersFrameParam{
				StreamID: id, BlockFragment: piece, EndStream: last, EndHeaders: len(block) == 0,
			})
		} else {
			err = c.framer.WriteContinuation(id, len(block) == 0, piece)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sendBody sends until the body is out or the answer is complete: a server may answer early.
func (s *RawStream) sendBody(ctx context.Context, request RawRequest) error {
	c := s.client
	c.mutex.Lock()
	defer c.mutex.Unlock()
	defer c.wakeAt(ctx)()
	defer func() {
		s.uploading = false
		if s.ended {
			delete(c.streams, s.id)
		}
	}()
	if request.Breaks {
		for !s.haveHead && s.failure == nil && ctx.Err() == nil {
			c.changed.Wait()
		}
		return c.framer.WriteData(s.id, true, nil)
	}
	for body := request.Body; len(body) > 0; {
		if request.Pause > 0 {
			c.mutex.Unlock()
			time.Sleep(request.Pause)
			c.mutex.Lock()
		}
		for s.sendWindow <= 0 || c.sendWindow <= 0 {
			if s.ended || s.failure != nil || ctx.Err() != nil {
				break
			}
			c.changed.Wait()
		}
		if s.ended {
			s.awaitEarlyReset()
			return nil
		}
		if s.failure != nil {
			return nil // Wait tells it.
		}
		if ctx.Err() != nil {
			return fmt.Errorf("upload on stream %d: %w", s.id, ctx.Err())
		}
		count := min(int64(len(body)), s.sendWindow, c.sendWindow, int64(c.maxFrame))
		piece := body[:count]
		body = body[count:]
		s.sendWindow -= count
		c.sendWindow -= count
		if err := c.framer.WriteData(s.id, len(body) == 0 && len(request.Trailers) == 0, piece); err != nil {
			return err
		}
	}
	if len(request.Trailers) > 0 {
		return c.writeFields(s.id, request.Trailers, true)
	}
	return nil
}

// awaitEarlyReset gives the RST_STREAM that follows an early answer its time, and resets the stream
// itself where none comes (RFC 9113 section 8.1).
func (s *RawStream) awaitEarlyReset() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	defer s.client.wakeAt(ctx)()
	for s.response.EarlyReset == nil && s.client.failure == nil && ctx.Err() == nil {
		s.client.changed.Wait()
	}
	if s.response.EarlyReset == nil {
		_ = s.client.framer.WriteRSTStream(s.id, http2.ErrCodeCancel)
	}
}

func (c *RawClient) receive() {
	for {
		frame, err := c.framer.ReadFrame()
		c.mutex.Lock()
		if err != nil {
			var streamError http2.StreamError
			if errors.As(err, &streamError) {
				c.finish(streamError.StreamID, streamError)
			} else {
				c.failure = fmt.Errorf("connection lost: %w", err)
				for id := range c.streams {
					c.finish(id, c.failure)
				}
			}
		} else {
			c.handle(frame)
		}
		over := c.failure != nil
		c.changed.Broadcast()
		c.mutex.Unlock()
		if over {
			c.conn.Close()
			return
		}
	}
}

func (c *RawClient) finish(id uint32, failure error) {
	stream := c.streams[id]
	if stream == nil {
		return
	}
	delete(c.streams, id)
	if failure == nil {
		stream.ended = true
	} else if !stream.ended {
		stream.failure = failure
	}
}

func (c *RawClient) handle(frame http2.Frame) {
	switch frame := frame.(type) {
	case *http2.SettingsFrame:
		if frame.IsAck() {
			return
		}
		_ = frame.ForeachSetting(func(setting http2.Setting) error {
			switch setting.ID {
			case http2.SettingInitialWindowSize:
				for _, stream := range c.streams {
					stream.sendWindow += int64(setting.Val) - c.initialWindow
				}
				c.initialWindow = int64(setting.Val)
			case http2.SettingMaxFrameSize:
				c.maxFrame = int(min(setting.Val, 1<<16))
			}
			return nil
		})
		_ = c.framer.WriteSettingsAck()
		c.acknowledged = true
	case *http2.PingFrame:
		if !frame.IsAck() {
			_ = c.framer.WritePing(true, frame.Data)
		}
	case *http2.WindowUpdateFrame:
		if frame.StreamID == 0 {
			c.sendWindow += int64(frame.Increment)
		} else if stream := c.streams[frame.StreamID]; stream != nil {
			stream.sendWindow += int64(frame.Increment)
		}
	case *http2.MetaHeadersFrame:
		c.handleFields(frame)
	case *http2.DataFrame:
		c.handleData(frame)
	case *http2.RSTStreamFrame:
		if stream := c.streams[frame.StreamID]; stream != nil && stream.ended {
			stream.response.EarlyReset = &frame.ErrCode
		}
		c.finish(frame.StreamID, StreamReset{frame.ErrCode})
	case *http2.GoAwayFrame:
		c.goaways++
		for id := range c.streams {
			if id > frame.LastStreamID {
				c.finish(id, ErrGoaway)
			}
		}
	}
}

func (c *RawClient) handleFields(frame *http2.MetaHeadersFrame) {
	stream := c.streams[frame.StreamID]
	if stream == nil {
		return
	}
	if stream.haveHead {
		for _, field := range frame.RegularFields() {
			stream.response.Trailers = append(stream.response.Trailers, Field{field.Name, field.Value})
		}
	} else if status, err := strconv.Atoi(frame.PseudoValue("status")); err == nil && status >= 200 {
		stream.haveHead = true
		stream.response.Status = status
		for _, field := range frame.RegularFields() {
			stream.response.Fields = append(stream.response.Fields, Field{field.Name, field.Value})
		}
		stream.response.HeadOnly = frame.StreamEnded()
	}
	if frame.StreamEnded() {
		c.endOfAnswer(stream)
	}
}

func (c *RawClient) handleData(frame *http2.DataFrame) {
	if length := frame.Header().Length; length > 0 {
		_ = c.framer.WriteWindowUpdate(0, length)
		if !frame.StreamEnded() && c.streams[frame.StreamID] != nil {
			_ = c.framer.WriteWindowUpdate(frame.StreamID, length)
		}
	}
	stream := c.streams[frame.StreamID]
	if stream == nil {
		return
	}
	stream.response.Body = append(stream.response.Body, frame.Data()...)
	if frame.StreamEnded() {
		c.endOfAnswer(stream)
	}
}

// endOfAnswer keeps an uploading stream known: a RST_STREAM may follow.
func (c *RawClient) endOfAnswer(stream *RawStream) {
	stream.ended = true
	if !stream.uploading {
		delete(c.streams, stream.id)
	}
}
