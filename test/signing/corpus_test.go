package signing

import (
	"math/rand"
	"strings"
)

// letter is one message of the corpus and how it is sent.
type letter struct {
	content  string
	from     string // client address; 127.0.0.2 when empty
	chunk    int    // sent with BDAT in pieces of that size; 0: with DATA
	sendmail bool   // handed to sendmail(1), with LF line ends
	utf8     bool   // MAIL FROM with SMTPUTF8
	// relaxedHeader: a simple header signature can't survive, for the reason given.
	relaxedHeader string
	// openDKIM can't be asked, for the reason given, where its test mode isn't faithful.
	openDKIM string
}

const (
	top = "From: Anna <anna@example.com>\r\nTo: Bob <bob@sink.example>\r\nSubject: test\r\n" +
		"Date: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@example.com>\r\n"
	ownClient = "127.0.0.1"
)

func words(n int) string { return strings.Repeat("lorem ipsum  dolor\tsit ", n/23+1)[:n] }

// corpus is the awkward messages.
func corpus() map[string]letter {
	noise := make([]byte, 100<<10)
	random := rand.New(rand.NewSource(1))
	for i := range noise {
		if noise[i] = byte(random.Intn(255) + 1); noise[i] == '\r' || noise[i] == '\n' {
			noise[i] = ' '
		}
	}
	var lines strings.Builder
	for i := 0; i < len(noise); i += 76 {
		lines.Write(noise[i:min(i+76, len(noise))])
		lines.WriteString("\r\n")
	}
	return map[string]letter{
		"plain":               {content: top + "\r\nHello\r\n"},
		"empty body":          {content: top + "\r\n"},
		"no separator":        {content: top},
		"blank lines only":    {content: top + "\r\n\r\n\r\n\r\n"},
		"trailing blanks":     {content: top + "\r\nx\r\n\r\n\r\n"},
		"spaces everywhere":   {content: top + "\r\n  a  b \t \r\n \r\n\t\r\n  \r\n"},
		"no last CRLF":        {content: top + "\r\nx\r\nlast", chunk: 10},
		"last is CR":          {content: top + "\r\nx\r\nlast\r", chunk: 7},
		"tabs and folds":      {content: "Subject:\tone\r\n\ttwo \r\n   three\t\r\n" + top[:len(top)-0] + "\r\nx\r\n"},
		"blank folds":         {content: "X-A: b\r\n" + strings.Replace(top, "Subject: test", "Subject: a\r\n \r\n b", 1) + "\r\nx\r\n"},
		"empty subject":       {content: strings.Replace(top, "Subject: test", "Subject:", 1) + "\r\nx\r\n"},
		"subject of a space":  {content: strings.Replace(top, "Subject: test", "Subject: ", 1) + "\r\nx\r\n"},
		"no space":            {content: strings.Replace(top, "Subject: test", "Subject:test", 1) + "\r\nx\r\n"},
		"space before colon":  {content: strings.Replace(top, "Subject: test", "Subject : test", 1) + "\r\nx\r\n", relaxedHeader: "Postfix doesn't show milters the space"},
		"dots":                {content: top + "\r\n.\r\n..\r\n.x\r\n...\r\n"},
		"body begins with .":  {content: top + "\r\n.hidden\r\n"},
		"line of 998":         {content: top + "\r\n" + strings.Repeat("x", 998) + "\r\ny\r\n"},
		"line of 999":         {content: top + "\r\n" + strings.Repeat("x", 999) + "\r\ny\r\n"},
		"line of 1995":        {content: top + "\r\n" + strings.Repeat("x", 1995) + "\r\ny\r\n"},
		"line of 1996":        {content: top + "\r\n" + strings.Repeat("x", 1996) + "\r\ny\r\n"},
		"line of 2048":        {content: top + "\r\n" + strings.Repeat("x", 2048) + "\r\ny\r\n"},
		"line of 100000":      {content: top + "\r\n" + words(100000) + "\r\n"},
		"spaces at the break": {content: top + "\r\n" + strings.Repeat("x", 990) + strings.Repeat(" ", 20) + strings.Repeat(".", 2000) + "\r\n"},
		"long last line":      {content: top + "\r\n" + words(5000), chunk: 4096},
		"long header line":    {content: top + "Cc: " + strings.Repeat("x", 3000) + "@sink.example\r\n\r\nx\r\n"},
		"long folded header":  {content: "References: " + strings.Repeat("<a.long.message.id@example.com>\r\n ", 500) + "<z@x>\r\n" + top + "\r\nx\r\n"},
		"header above limit":  {content: top + "References: " + strings.Repeat("<a.long.message.id@example.com>\r\n ", 5000) + "<z@x>\r\n\r\nx\r\n"},
		"8 bit":               {content: strings.Replace(top, "test", "Gr\xfc\xdfe", 1) + "\r\nGr\xfc\xdfe \xff\xfe\r\n"},
		"noise":               {content: top + "\r\n" + lines.String()},
		"NUL":                 {content: top + "\r\na\x00b\r\n", openDKIM: "reads files as C strings"},
		"bare CR":             {content: top + "\r\na\rb\r\n\r\rc\r\n"},
		"bare LF":             {content: top + "\r\na\nb\n\r\nc\n"},
		"CR CR LF":            {content: top + "\r\na\r\r\nb\r\r\n"},
		"bare CR in a header": {content: strings.Replace(top, "test", "te\rst", 1) + "\r\nx\r\n"},
		"duplicate headers":   {content: "Subject: other\r\nTo: x@sink.example\r\n" + top + "To: y@sink.example\r\n\r\nx\r\n"},
		"300 headers":         {content: strings.Repeat("X-A: b\r\nCc: c@sink.example\r\n", 150) + top + "\r\nx\r\n"},
		"odd case":            {content: strings.Replace(top, "Subject:", "SUBJECT:", 1) + "mime-version: 1.0\r\ncontent-TYPE: text/plain;\r\n charset=utf-8\r\n\r\nx\r\n"},
		"multipart": {content: top + "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n" +
			"Content-Transfer-Encoding: 8bit\r\n\r\ngr\xfc\xdf\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nFrom: x@y\r\nSubject: in\r\n\r\nz\r\n--b--\r\n"},
		"other signature":   {content: "DKIM-Signature: v=1; a=rsa-sha256; d=other.example; s=x; h=from; bh=x; b=x\r\n" + top + "\r\nx\r\n"},
		"dropped headers":   {content: "Return-Path: <x@y>\r\nBcc: secret@sink.example\r\nContent-Length: 7\r\n" + top + "\r\nx\r\n"},
		"resent":            {content: "Resent-From: c@example.com\r\nResent-To: d@sink.example\r\n" + top + "\r\nx\r\n", from: ownClient},
		"completed":         {content: "From: Anna <anna@example.com>\r\n\r\nno Date, no Message-ID\r\n", from: ownClient},
		"incomplete":        {content: "From: Anna <anna@example.com>\r\n\r\nno Date, no Message-ID, and nobody adds them\r\n"},
		"rewritten":         {content: "From: anna@example.com\r\nTo: bob, \"C, D\" <c>,\r\n\t e@localhost\r\nCc: f\r\nSubject: x\r\n\r\nx\r\n", from: ownClient},
		"no From, added":    {content: "Subject: x\r\n\r\nx\r\n", from: ownClient},
		"body, no header":   {content: "From: anna@example.com\r\nthis is no header\r\nnor this\r\n"},
		"BDAT":              {content: top + "\r\n" + words(20000) + "\r\n.\r\n", chunk: 777},
		"BDAT byte by byte": {content: top + "\r\na\r\n.\r\nb\r\n", chunk: 1},
		"SMTPUTF8": {content: "From: =?utf-8?q?J=C3=BCrgen?= <jürgen@bücher.example>\r\nTo: <bob@sink.example>\r\nSubject: grüße\r\n\r\nwörld\r\n",
			utf8: true},
		"sendmail":              {content: top + "\r\nHello\r\n.\r\nx\r\n", sendmail: true},
		"sendmail, bare":        {content: "From: anna@example.com\r\n\r\nx", sendmail: true},
		"sendmail, no newline":  {content: top + "\r\nlast", sendmail: true},
		"sendmail, 8 bit":       {content: top + "\r\nGr\xfc\xdfe\r\n", sendmail: true},
		"sendmail, long line":   {content: top + "\r\n" + words(5000), sendmail: true},
		"sendmail, CR":          {content: top + "\r\na\rb\r\n\r", sendmail: true},
		"sendmail, blank lines": {content: top + "\r\nx\r\n\r\n\r\n", sendmail: true},
	}
}
