package diagnose

import (
	"errors"
	"strconv"
	"strings"
)

// Postfix is an instance's settings, as postconf(1) prints them.
type Postfix struct {
	main     map[string]string
	Services []Service
}

// Service is a line of master.cf with its overrides.
type Service struct {
	Name, Type string // submission, inet
	Chroot     bool
	Command    string // smtpd
	params     map[string]string
	postfix    *Postfix
}

// ParsePostfix reads main (postconf -x), master (postconf -M) and params (postconf -x -P).
func ParsePostfix(main, master, params string) (*Postfix, error) {
	p := &Postfix{main: map[string]string{}}
	for line := range strings.Lines(main) {
		if name, value, found := strings.Cut(line, "="); found {
			p.main[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
	}
	if p.main["mail_version"] == "" {
		return nil, errors.New("postconf names no mail_version")
	}
	for line := range strings.Lines(master) {
		// service type private unpriv chroot wakeup maxproc command + args (master(5))
		fields := strings.Fields(line)
		if len(fields) < 8 || fields[0][0] == '#' {
			continue
		}
		chroot := fields[4] == "y" // "-" is no since Postfix 3.0
		p.Services = append(p.Services, Service{Name: fields[0], Type: fields[1], Chroot: chroot, Command: fields[7],
			params: map[string]string{}, postfix: p})
	}
	for line := range strings.Lines(params) {
		left, value, found := strings.Cut(line, "=")
		parts := strings.SplitN(strings.TrimSpace(left), "/", 3)
		if !found || len(parts) != 3 {
			continue
		}
		if s := p.Service(parts[0], parts[1]); s != nil {
			s.params[parts[2]] = strings.TrimSpace(value)
		}
	}
	return p, nil
}

// Main is a setting of main.cf or its default; empty where this version has no such setting.
func (p *Postfix) Main(name string) string { return p.main[name] }

// Has tells whether this version of Postfix knows a setting.
func (p *Postfix) Has(name string) bool { _, has := p.main[name]; return has }

// Version is mail_version.
func (p *Postfix) Version() string { return p.main["mail_version"] }

// AtLeast compares versions: major, minor and patch level.
func (p *Postfix) AtLeast(version ...int) bool {
	have := strings.FieldsFunc(p.Version(), func(r rune) bool { return r < '0' || r > '9' })
	for i, want := range version {
		n := 0
		if i < len(have) {
			n, _ = strconv.Atoi(have[i]) // digits alone
		}
		if n != want {
			return n > want
		}
	}
	return true
}

// Service finds a service of master.cf, or gives nil.
func (p *Postfix) Service(name, kind string) *Service {
	for i := range p.Services {
		if p.Services[i].Name == name && p.Services[i].Type == kind {
			return &p.Services[i]
		}
	}
	return nil
}

// Run are the services that run a daemon.
func (p *Postfix) Run(command string) (list []*Service) {
	for i := range p.Services {
		if p.Services[i].Command == command {
			list = append(list, &p.Services[i])
		}
	}
	return list
}

// Value is a setting as the service has it: its own override, or main.cf's.
func (s *Service) Value(name string) string {
	if value, own := s.params[name]; own {
		return value
	}
	return s.postfix.Main(name)
}

// Own tells whether the service overrides a setting.
func (s *Service) Own(name string) bool { _, own := s.params[name]; return own }

// Yes tells whether a setting of the service is switched on.
func (s *Service) Yes(name string) bool { return s.Value(name) == "yes" }

// Set is the command that changes a setting where the service has it from.
func (s *Service) Set(name, value string) string {
	if s.Own(name) {
		return "postconf -P '" + s.Path(name) + "=" + value + "'"
	}
	return "postconf -e '" + name + " = " + value + "'"
}

// Path is a setting as postconf -P names it.
func (s *Service) Path(name string) string { return s.Name + "/" + s.Type + "/" + name }

// words cuts a list as Postfix does: at white space and commas, braces kept together (postconf(5), "smtpd_milters").
func words(list string) (all []string) {
	depth, begin := 0, -1
	for i, c := range list {
		separates := (c == ' ' || c == '\t' || c == ',') && depth == 0
		switch {
		case separates && begin >= 0:
			all = append(all, list[begin:i])
			begin = -1
		case !separates && begin < 0:
			begin = i
		}
		switch c {
		case '{':
			depth++
		case '}':
			depth = max(0, depth-1)
		}
	}
	if begin >= 0 {
		all = append(all, list[begin:])
	}
	return all
}

// reload ends every advice that changes main.cf or master.cf.
const reload = "postfix reload"
