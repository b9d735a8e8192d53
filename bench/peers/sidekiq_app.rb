# frozen_string_literal: true

# The jobs of effects.py for Sidekiq, and the command line of producer.py.
require "json"
require "sidekiq"

# Else this version of the gem writes a line for each push, which nobody would leave so.
Redis.silence_deprecations = true if Redis.respond_to?(:silence_deprecations=)

Sidekiq.configure_server { |config| config.redis = {url: ENV.fetch("BENCH_URL")} }
Sidekiq.configure_client { |config| config.redis = {url: ENV.fetch("BENCH_URL")} }
Sidekiq.logger.level = Logger::WARN unless ENV["BENCH_LOG"] == "1"

def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)

def redis(&block) = Sidekiq.redis(&block)

class Nothing
  include Sidekiq::Worker
  sidekiq_options queue: "bench"
  def perform(number); end
end

class Nap < Nothing
  def perform(seconds) = sleep(seconds)
end

class Hello < Nothing
  def perform
    redis { |c| c.sadd("bench:pids", Process.pid) }
    sleep(0.05)
  end
end

class Stamp < Nothing
  WAITS = File.open("waits", "a") unless $PROGRAM_NAME == __FILE__

  def perform(pushed_at)
    waited = now - pushed_at
    WAITS.syswrite("#{waited}\n")
  end
end

class Mark < Nothing
  def perform(seconds)
    sleep(seconds)
    redis { |c| c.incr("bench:done") }
  end
end

class Record < Nothing
  def perform(number, seconds)
    redis { |c| c.hset("bench:begun", number, "#{now} #{Process.pid}") }
    sleep(seconds)
    redis { |c| c.sadd("bench:finished", number) }
  end
end

def fill(spec)
  jobs = 0
  started = now
  cpu = Process.clock_gettime(Process::CLOCK_PROCESS_CPUTIME_ID)
  spec["repeat"].times do
    spec["jobs"].each do |count, name, args|
      job = Object.const_get(name.capitalize)
      if spec["bulk"]
        0.step(count - 1, 1000) do |first|
          Sidekiq::Client.push_bulk("class" => job, "args" => Array.new([1000, count - first].min) { args })
        end
      else
        count.times { job.perform_async(*args) }
      end
      jobs += count
    end
  end
  cpu = Process.clock_gettime(Process::CLOCK_PROCESS_CPUTIME_ID) - cpu
  puts JSON.generate(jobs: jobs, seconds: now - started, cpu: cpu)
end

def stamps(spec)
  Nothing.perform_async(0)
  due = started = now
  spec["count"].times do
    due += spec["gap"] * (0.5 + rand)
    sleep([due - now, 0].max)
    spec["delay"].zero? ? Stamp.perform_async(now) : Stamp.perform_in(spec["delay"], now + spec["delay"])
  end
  puts JSON.generate(seconds: now - started)
end

if $PROGRAM_NAME == __FILE__
  spec = JSON.parse(ARGV[1])
  (ARGV[0] == "fill") ? fill(spec) : stamps(spec)
end
