package relay

import (
	"fmt"
	"strings"
)

// Service is a line of Postfix's master.cf (master(5)).
type Service struct {
	Name    string
	Type    string // unix or inet
	Command string // smtp or smtpd
	Options []string
	Comment string // what it is for, in a line
}

// Wiring says how a node's Postfix is to be told.
type Wiring struct {
	LogName string // syslog_name of the instance; empty: what Postfix's own default comes to
	Gate    int    // port
	Local   string // HOST:PORT for the mail of other nodes
}

// ownDomain lets mail for a domain wait whose mail server is the carrier itself (error(8)): another node took that mail, which
// might not know the domain, and what would deliver it here is for the administrator to say.
const ownDomain = "retry:4.4.6 This node is the domain's mail server: its best_mx_transport has to say what delivers there"

// reuse bounds how long Postfix sends mail after mail over one connection, 300 s if nobody says otherwise: who carries was chosen
// when it began, and may have become unfit since, or the better choice another.
const reuse = "smtp_connection_reuse_time_limit=30s"

// Services are what master.cf needs.
func (w Wiring) Services() []Service {
	name := w.LogName
	if name == "" {
		name = "${multi_instance_name?{$multi_instance_name}:{postfix}}"
	}
	return []Service{
		{hopService, "unix", "smtp", []string{
			"syslog_name=" + name + "/" + hopService,
			"smtp_tls_security_level=none", // the gate sees to that
			"smtp_send_xforward_command=yes",
			"smtp_fallback_relay=",
			"smtp_sasl_auth_enable=no",
			reuse,
		}, "To other nodes, through this node's gate."},
		{failoverService, "unix", "smtp", []string{
			"syslog_name=" + name + "/" + failoverService,
			fmt.Sprintf("smtp_fallback_relay=[%s]:%d", anyCarrier, w.Gate),
			"smtp_send_xforward_command=yes",
			reuse,
		}, "As smtp, with the fleet to fall back to."},
		{carryService, "unix", "smtp", []string{
			"syslog_name=" + name + "/" + carryService,
			"smtp_fallback_relay=",
			"{best_mx_transport=" + ownDomain + "}", // instead of the bounce "mail for … loops back to myself"
		}, "Mail of other nodes, on to its destination."},
		{w.Local, "inet", "smtpd", []string{
			"syslog_name=" + name + "/" + hopService,
			"smtpd_upstream_proxy_protocol=haproxy",
			"content_filter=" + carryService + ":", // goes before every table, so that mail never goes round
			"smtpd_proxy_filter=",                  // which would give the mail back as this node's own, to be handed over again
			"milter_macro_daemon_name=" + hopService,
			"milter_default_action=tempfail",
			"mynetworks=0.0.0.0/0,[::]/0",
			"smtpd_authorized_xforward_hosts=0.0.0.0/0,[::]/0",
			"smtpd_peername_lookup=no",
			"smtpd_client_restrictions=",
			"smtpd_helo_restrictions=",
			"smtpd_sender_restrictions=",
			"smtpd_recipient_restrictions=",
			"smtpd_data_restrictions=",
			"smtpd_end_of_data_restrictions=",
			"smtpd_relay_restrictions=permit_mynetworks,reject", // smtpd wants to see a reject
			"smtpd_tls_security_level=none",
			"smtpd_sasl_auth_enable=no",
			"local_header_rewrite_clients=",
			"receive_override_options=no_unknown_recipient_checks,no_header_body_checks,no_address_mappings",
		}, "Mail of other nodes, from this node's gate."},
	}
}

// Line is a service's entry in one line, as postconf -M takes it.
func (s *Service) Line() string { return s.entry(" ") }

// Text is the entry as a person would write it.
func (s *Service) Text() string { return "# " + s.Comment + "\n" + s.entry("\n  ") + "\n" }

// entry leaves the chroot out, as Postfix itself does since 3.0: it would only take more files to copy.
func (s *Service) entry(separator string) string {
	private := "-"
	if s.Type == "inet" {
		private = "n"
	}
	line := strings.Join([]string{s.Name, s.Type, private, "-", "n", "-", "-", s.Command}, " ")
	for _, option := range s.Options {
		line += separator + "-o " + option
	}
	return line
}

// Table is the map as sender_dependent_default_transport_maps names it. A socket below the queue directory is named from
// there, since daemons that are chrooted have to find it, and the others begin there too.
func Table(network, address, queueDir string) string {
	if network != "unix" {
		return "socketmap:inet:" + address + ":" + mapName
	}
	if dir := strings.TrimSuffix(queueDir, "/"); dir != "" {
		address = strings.TrimPrefix(address, dir+"/")
	}
	return "socketmap:unix:" + address + ":" + mapName
}
