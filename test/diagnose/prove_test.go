package diagnose

import (
	"context"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postfleet/postfleet/internal/diagnose"
	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/test/lab"
)

// proven are the grades that each check was shown to give.
var proven = struct {
	sync.Mutex
	grades map[string]map[fleet.Grade]bool
}{grades: map[string]map[fleet.Grade]bool{}}

// binary is postfleet, built once for all tests.
var binary string

func TestMain(m *testing.M) {
	code := lab.Main(m, &binary)
	chosen := func(arg string) bool {
		return strings.HasPrefix(arg, "-test.run=") || strings.HasPrefix(arg, "-test.list=")
	}
	if code == 0 && !slices.ContainsFunc(os.Args, chosen) {
		code = unproven()
	}
	os.Exit(code)
}

// unproven names the checks that no test has shown to pass and to fail.
func unproven() (code int) {
	for _, check := range diagnose.Table {
		for _, grade := range []fleet.Grade{fleet.GradePass, fleet.GradeFail} {
			if check.Name == "resolver" && grade == fleet.GradeFail {
				continue // a resolver that can't be used makes "could not tell", see TestResolvers
			}
			if !proven.grades[check.Name][grade] {
				println("no test shows that the check", check.Name, "can give", string(grade))
				code = 1
			}
		}
	}
	return code
}

// want is what a check has to find.
type want struct {
	grade fleet.Grade
	seen  string   // in the gravest part
	mend  []string // each in the advice of the gravest part
}

// expect runs a check and holds its finding against what is wanted.
func expect(t *testing.T, f *diagnose.Facts, check string, w want) fleet.Finding {
	t.Helper()
	if f.Now == nil {
		f.Now = time.Now
	}
	if f.Limits == (diagnose.Limits{}) {
		f.Limits = diagnose.DefaultLimits
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	findings, err := diagnose.Run(ctx, f, diagnose.RunOptions{Checks: []string{check}})
	if err != nil {
		t.Fatal(err)
	}
	found := findings[0]
	proven.Lock()
	if proven.grades[check] == nil {
		proven.grades[check] = map[fleet.Grade]bool{}
	}
	proven.grades[check][found.Grade] = true
	proven.Unlock()
	if found.Grade != w.grade {
		t.Fatalf("%s: %s, not %s: %+v", check, found.Grade, w.grade, found.Parts)
	}
	worst := found.Parts[0]
	if !strings.Contains(worst.Seen, w.seen) {
		t.Errorf("%s: seen %q lacks %q", check, worst.Seen, w.seen)
	}
	advice := strings.Join(worst.Mend, "\n")
	for _, part := range w.mend {
		if !strings.Contains(advice, part) {
			t.Errorf("%s: advice lacks %q:\n%s", check, part, advice)
		}
	}
	if (found.Grade == fleet.GradeFail || found.Grade == fleet.GradeWarn) && len(worst.Mend) == 0 {
		t.Errorf("%s: no advice for %q", check, worst.Seen)
	}
	return found
}

// bind serves the records of a root zone: names end in a dot.
func bind(t *testing.T, records string) string {
	t.Helper()
	l := lab.ForTest(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	server, err := l.StartBind(ctx, lab.BindOptions{Name: "dns", Zones: map[string]string{".": records}})
	if err != nil {
		t.Fatal(err)
	}
	return server.Addr
}

func resolver(servers ...string) *diagnose.Resolver {
	return diagnose.NewResolver(diagnose.ResolverOptions{Servers: servers, Timeout: time.Second})
}

func egress(addresses ...string) (list []fleet.Egress) {
	for _, address := range addresses {
		list = append(list, fleet.Egress{Address: address, From: "configured"})
	}
	return list
}

// settings are those that postconf(1) prints for a main.cf and a master.cf.
func settings(t *testing.T, main, master string) *diagnose.Postfix {
	t.Helper()
	p, err := readSettings(t, t.TempDir(), main, master)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
