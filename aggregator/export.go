package aggregator

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// exporter writes messages in one format.
type exporter interface {
	begin() error
	message(*fleet.Message) error
	end(missing []Answer) error // nodes whose messages are not all there
}

// exportPage is how many messages are fetched at a time, which bounds the memory of an export.
const exportPage = 500

func (s *Server) exportCSV(w http.ResponseWriter, r *http.Request)  { s.export(w, r, "csv") }
func (s *Server) exportJSON(w http.ResponseWriter, r *http.Request) { s.export(w, r, "jsonl") }

func (s *Server) apiExport(w http.ResponseWriter, r *http.Request) {
	format := r.URL.Query().Get("format")
	if format == "" {
		format = "jsonl"
	}
	s.export(w, r, format, "format")
}

// export streams all messages that match the filters, page after page.
func (s *Server) export(w http.ResponseWriter, r *http.Request, format string, further ...string) {
	q, _, err := s.messageQuery(r, further...)
	if err == nil && format != "csv" && format != "jsonl" {
		err = fleet.Invalid("format", "%q is not a format: expected csv or jsonl", clip(format, 40))
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	q.Limit = exportPage
	list, err := s.fleet.Messages(r.Context(), q, "")
	if err == nil {
		err = nobodyAnswered(list.Nodes)
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	h := w.Header()
	h.Set("Content-Disposition", `attachment; filename="postfleet-`+s.clock().UTC().Format("20060102T150405Z")+"."+format+`"`)
	h.Set("X-Accel-Buffering", "no")
	out := bufio.NewWriterSize(w, 64<<10)
	var to exporter
	if format == "csv" {
		h.Set("Content-Type", "text/csv; charset=utf-8; header=present")
		to = &csvExport{csv.NewWriter(out)}
	} else {
		h.Set("Content-Type", "application/jsonl; charset=utf-8")
		to = &jsonExport{json.NewEncoder(out)}
	}
	if err := s.exportAll(w, r, q, list, to, out); err != nil {
		panic(http.ErrAbortHandler) // half an export must not look whole
	}
}

// exportAll writes the first page and those behind it. A node that failed once is not asked again, or one that hangs would
// hold up every page; it is named at the end.
func (s *Server) exportAll(w http.ResponseWriter, r *http.Request, q fleet.Query, list *List, to exporter, out *bufio.Writer) error {
	control := http.NewResponseController(w)
	if err := to.begin(); err != nil {
		return err
	}
	var missing []Answer
	var except []string
	for {
		for _, one := range list.Failed() {
			if !slices.Contains(except, one.Node) {
				missing, except = append(missing, one), append(except, one.Node)
			}
		}
		_ = control.SetWriteDeadline(time.Now().Add(streamWrite)) // a writer without deadlines has no slow readers
		for i := range list.Messages {
			if err := to.message(&list.Messages[i]); err != nil {
				return err
			}
		}
		if list.Next == "" || len(list.Messages) == 0 {
			break
		}
		if err := flush(out, control); err != nil {
			return err
		}
		next, err := s.fleet.Messages(r.Context(), q, list.Next, except...)
		if err != nil {
			return err
		}
		list = next
	}
	if err := to.end(missing); err != nil {
		return err
	}
	return flush(out, control)
}

func flush(out *bufio.Writer, control *http.ResponseController) error {
	if err := out.Flush(); err != nil {
		return err
	}
	return control.Flush()
}

// jsonExport writes one message a line. When messages are missing the last line says whose, and why.
type jsonExport struct{ out *json.Encoder }

func (e *jsonExport) begin() error                   { return nil }
func (e *jsonExport) message(m *fleet.Message) error { return e.out.Encode(m) }

// Incomplete is the last line of an export that lacks messages.
type Incomplete struct {
	Incomplete []Answer `json:"incomplete"`
}

func (e *jsonExport) end(missing []Answer) error {
	if len(missing) == 0 {
		return nil
	}
	return e.out.Encode(Incomplete{missing})
}

// csvExport writes one recipient a line.
type csvExport struct{ out *csv.Writer }

var csvColumns = []string{"node", "id", "queue_id", "first_seen", "removed", "sender", "recipient", "orig_to", "status", "dsn", "relay",
	"attempts", "delay_seconds", "reply", "subject", "header_from", "message_id", "size", "client_addr", "client_name", "auth_user",
	"signed", "as_of"}

func (e *csvExport) begin() error { return e.out.Write(csvColumns) }

func (e *csvExport) message(m *fleet.Message) error {
	recipients := m.Recipients
	if len(recipients) == 0 {
		recipients = []fleet.Recipient{{Status: fleet.Status(m.Fate()), Reply: m.Reply}}
	}
	for i := range recipients {
		if err := e.out.Write(csvRow(m, &recipients[i])); err != nil {
			return err
		}
	}
	e.out.Flush()
	return e.out.Error()
}

func csvRow(m *fleet.Message, r *fleet.Recipient) []string {
	delay := ""
	if n := len(r.Attempts); n > 0 {
		delay = strconv.FormatFloat(r.Attempts[n-1].Delay, 'f', -1, 64)
	}
	var signed []string
	for _, s := range m.Signatures {
		signed = append(signed, s.Domain+"/"+s.Selector+"/"+s.Algorithm)
	}
	row := []string{m.Node, m.ID.String(), m.QueueID, stamp(m.FirstSeen), stamp(m.Removed), m.Sender, r.Address, r.OrigTo,
		string(r.Status), r.DSN, r.Relay, strconv.Itoa(len(r.Attempts)), delay, r.Reply, m.Subject, m.HeaderFrom, m.MessageID,
		strconv.FormatInt(m.Size, 10), m.Client.Addr, m.Client.Name, m.Client.AuthUser, strings.Join(signed, " "), stamp(m.AsOf)}
	for i := range row {
		row[i] = inert(row[i])
	}
	return row
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// inert keeps a spreadsheet from running a cell as a formula: a mail sender chose the text
// (https://owasp.org/www-community/attacks/CSV_Injection).
func inert(cell string) string {
	if cell != "" && strings.ContainsRune("=+-@\t\r\n", rune(cell[0])) {
		return "'" + cell
	}
	return cell
}

// end names what is missing in a last line whose first cell no node can be called.
func (e *csvExport) end(missing []Answer) error {
	for _, a := range missing {
		if err := e.out.Write([]string{"#incomplete", inert(a.Node), inert(a.Error)}); err != nil {
			return err
		}
	}
	e.out.Flush()
	return e.out.Error()
}
