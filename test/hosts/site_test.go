// Package hosts proves that bare Debian hosts become a fleet: packages, units and playbooks on machines that boot, which have
// no way out but a repository of packages on their own network.
package hosts

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postfleet/postfleet/test/lab"
)

// The versions that are installed, in order.
const (
	firstVersion  = "1.0.0"
	secondVersion = "1.0.1"
)

// distribution are the packages that the playbook asks the distribution for.
var distribution = []string{"postfix", "openssl", "haproxy", "dnsmasq", "python3-apt", "libssl3", "nftables"}

// site is the network with its hosts.
type site struct {
	*lab.Lab
	network   *lab.Network
	control   *lab.Host // runs the playbooks, and is the repository
	outside   *lab.Machine
	nodes     []*lab.Machine
	root      string
	packages  string // directory of the repository
	key       string
	inventory string
	zone      string // as it was published last
}

const (
	controlIP = "10.77.0.1"
	outsideIP = "10.77.0.2"
	domain    = "fleet.example"
)

func cacheDir(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("CACHE"); dir != "" {
		return filepath.Join(dir, "hosts")
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "postfleet", "hosts")
}

// startSite makes everything but the fleet's machines.
func startSite(t *testing.T, ctx context.Context) *site {
	t.Helper()
	s := &site{Lab: lab.ForTest(t)}
	var err error
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	s.root, err = lab.DebianRoot(ctx, cacheDir(t), "bookworm")
	must("root file system", err)
	debs, err := lab.DebianPackages(ctx, cacheDir(t), s.root, distribution)
	must("packages of the distribution", err)
	s.packages, err = s.Mkdir("repository")
	must("repository", err)
	must("repository", os.CopyFS(s.packages, os.DirFS(debs)))
	s.build(t, ctx, firstVersion)

	s.network, err = s.StartNetwork(ctx, netip.MustParsePrefix("10.77.0.0/24"))
	must("network", err)
	s.control, err = s.network.StartHost(ctx, lab.HostOptions{Name: "control", IP: controlIP})
	must("controlling host", err)
	listener, err := s.control.Listen(ctx, "tcp", controlIP+":80")
	must("repository", err)
	server := &http.Server{Handler: http.FileServer(http.Dir(s.packages))}
	go server.Serve(listener) //nolint:errcheck // ends with Close
	s.OnClose("close repository", server.Close)

	s.key = s.Path("key")
	_, err = s.Run(ctx, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", s.key)
	must("ssh key", err)
	s.startOutside(t, ctx)
	return s
}

// build makes the package of a version and puts it into the repository.
func (s *site) build(t *testing.T, ctx context.Context, version string) {
	t.Helper()
	dist := s.Path("dist-" + version)
	cmd := exec.CommandContext(ctx, "make", "packages", "VERSION="+version)
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "DIST="+dist, "ARCHITECTURES=amd64", "FORMATS=deb")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make packages: %v\n%s", err, out)
	}
	name := "postfleet_" + version + "-1_amd64.deb"
	if err := os.Link(filepath.Join(dist, name), filepath.Join(s.packages, name)); err != nil {
		t.Fatal(err)
	}
	if err := lab.IndexPackages(ctx, s.packages); err != nil {
		t.Fatal(err)
	}
}

// startMachine boots one that has nothing but Debian.
func (s *site) startMachine(t *testing.T, ctx context.Context, name, ip, nameServer string) *lab.Machine {
	t.Helper()
	m, err := s.network.StartMachine(ctx, lab.MachineOptions{Name: name + "." + domain, IP: ip, Base: s.root, Key: s.key,
		Mirror: "http://" + controlIP + "/", DNS: nameServer})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// startOutside boots the host that is client, sink and name server.
func (s *site) startOutside(t *testing.T, ctx context.Context) {
	t.Helper()
	binary := s.Path("outside")
	if out, err := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", binary, "./outside").CombinedOutput(); err != nil {
		t.Fatalf("build outside: %v\n%s", err, out)
	}
	s.outside = s.startMachine(t, ctx, "outside", outsideIP, "")
	if err := s.outside.Put(ctx, binary, "/usr/local/bin/outside"); err != nil {
		t.Fatal(err)
	}
	if err := s.publish(ctx, ""); err != nil {
		t.Fatal(err)
	}
	s.on(t, ctx, s.outside, "systemd-run --quiet --unit=outside outside serve /etc/zone /var/log/mails")
}

// publish writes the zone: what the site has, and further records.
func (s *site) publish(ctx context.Context, more string) error {
	zone := "outside.example. MX 10 mail.outside.example.\nmail.outside.example. A " + outsideIP + "\n"
	for i := 1; i <= 4; i++ {
		zone += fmt.Sprintf("mx%d.%s. A %s\n", i, domain, nodeIP(i))
	}
	if zone += more; zone == s.zone {
		return nil
	}
	file, err := s.WriteFile("zone", []byte(zone), 0o644)
	if err != nil {
		return err
	}
	s.zone = zone
	return s.outside.Put(ctx, file, "/etc/zone")
}

func nodeIP(i int) string { return fmt.Sprintf("10.77.0.%d", 10+i) }

// addNode boots the next machine of the fleet.
func (s *site) addNode(t *testing.T, ctx context.Context) {
	t.Helper()
	i := len(s.nodes) + 1
	s.nodes = append(s.nodes, s.startMachine(t, ctx, fmt.Sprintf("mx%d", i), nodeIP(i), outsideIP))
}

// on runs a shell command on a machine.
func (s *site) on(t *testing.T, ctx context.Context, m *lab.Machine, command string) string {
	t.Helper()
	out, err := m.Run(ctx, command)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
