package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Process is a child process whose output goes to a file.
type Process struct {
	Name string
	Log  string // path of the file with its output

	lab    *Lab
	cmd    *exec.Cmd
	exited chan struct{}
	err    error
}

// stopWithin is how long a process may take to end after SIGTERM.
const stopWithin = 15 * time.Second

// Start runs a program until the Lab is closed. Its output is appended to NAME.log.
func (l *Lab) Start(name, program string, args ...string) (*Process, error) {
	return l.startOn(nil, name, program, args...)
}

func (l *Lab) startOn(host *Host, name, program string, args ...string) (*Process, error) {
	return l.startCommand(name, host, exec.Command(program, args...))
}

func (l *Lab) startCommand(name string, host *Host, cmd *exec.Cmd) (*Process, error) {
	p := &Process{Name: name, Log: l.Path(name + ".log"), lab: l, cmd: cmd, exited: make(chan struct{})}
	out, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	defer out.Close()
	p.cmd.Dir = l.Dir
	p.cmd.Stdout, p.cmd.Stderr = out, out
	if p.cmd.SysProcAttr == nil {
		p.cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	p.cmd.SysProcAttr.Setpgid = true // Ctrl-C is for the program that owns the Lab
	if err := host.do(p.cmd.Start); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	if err := l.leash.hold(p.Pid()); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", name, err), p.cmd.Process.Kill(), p.cmd.Wait())
	}
	go func() {
		p.err = p.cmd.Wait()
		l.leash.drop(p.Pid())
		close(p.exited)
	}()
	l.watchLog(p.Log)
	l.OnClose("stop "+name, p.Stop)
	return p, nil
}

// Pid is the process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Exited is closed when the process has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Running tells whether the process has not ended yet.
func (p *Process) Running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// Signal sends a signal.
func (p *Process) Signal(sig os.Signal) error { return p.cmd.Process.Signal(sig) }

// Stop ends the process with SIGTERM, or with SIGKILL when it doesn't obey, which is an error. A process that has ended
// already is none.
func (p *Process) Stop() error {
	if !p.Running() {
		return nil
	}
	if err := p.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", p.Name, err)
	}
	select {
	case <-p.exited:
		return nil
	case <-time.After(stopWithin):
		return errors.Join(fmt.Errorf("stop %s: still running %s after SIGTERM", p.Name, stopWithin), p.Kill())
	}
}

// Kill ends the process with SIGKILL and waits for its end.
func (p *Process) Kill() error {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill %s: %w", p.Name, err)
	}
	<-p.exited
	return nil
}

// ExitErr is how the process ended; it waits for that.
func (p *Process) ExitErr() error {
	<-p.exited
	return p.err
}

// Ready polls until check answers nil. It fails at once when the process ends, with the end of its log.
func (p *Process) Ready(ctx context.Context, check func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-p.exited:
			tail, _ := fileTail(p.Log, 2000)
			cancel(fmt.Errorf("it ended: %w\n%s", p.err, tail))
		case <-ctx.Done():
		}
	}()
	if err := Until(ctx, check); err != nil {
		return fmt.Errorf("wait for %s: %w", p.Name, err)
	}
	return nil
}

// Run runs a program to its end and returns what it printed; the error has what it printed to its standard error.
func (l *Lab) Run(ctx context.Context, program string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = l.Dir
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return out, fmt.Errorf("%s: %w: %s", cmd, err, exit.Stderr)
	}
	if err != nil {
		return out, fmt.Errorf("%s: %w", cmd, err)
	}
	return out, nil
}
