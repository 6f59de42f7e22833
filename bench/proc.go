package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of CPU times in /proc (proc(5)); Linux has shown 100 a second for ever.
const tick = 10 * time.Millisecond

// cpu is the time that the milter's processes have used so far, user and system.
func (c *contestant) cpu() (time.Duration, error) {
	pids, err := c.processes()
	if err != nil {
		return 0, err
	}
	var total time.Duration
	for _, pid := range pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, err
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		for _, field := range fields[11:13] { // utime, stime
			ticks, err := strconv.Atoi(field)
			if err != nil {
				return 0, err
			}
			total += time.Duration(ticks) * tick
		}
	}
	return total, nil
}

// memory is the resident memory of the largest of the milter's processes, in KiB.
type memory struct{ now, peak int }

// memory reads the figures and lets the peak begin anew.
func (c *contestant) memory() (memory, error) {
	pids, err := c.processes()
	if err != nil {
		return memory{}, err
	}
	var largest memory
	for _, pid := range pids {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return memory{}, err
		}
		m := memory{now: kib(status, "VmRSS:"), peak: kib(status, "VmHWM:")}
		if m.peak > largest.peak {
			largest = m
		}
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0o200); err != nil {
			return memory{}, err
		}
	}
	return largest, nil
}

func kib(status []byte, field string) int {
	for line := range strings.Lines(string(status)) {
		if value, found := strings.CutPrefix(line, field); found {
			n, _ := strconv.Atoi(strings.Fields(value)[0])
			return n
		}
	}
	return 0
}
