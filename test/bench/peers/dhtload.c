// Load driver of Doorward's own measurements (test/bench): written for them, Apache-2.0 like the rest, no outside source.
// dhtload: closed-loop UDP load on one OpenDHT node, on loopback alone.
// usage: dhtload PORT KIND SECONDS WINDOW SOURCES [PID [KEY DATAGRAMS]]
//   KIND ping | find | get | ids   ids: a get for ids alone, which is how dhtnode asks
//   PID: the node's process, whose CPU seconds are read from /proc
//   KEY, DATAGRAMS: ask for this key (40 hex digits) instead of random ones; a reply is that many datagrams
// Prints: replies, replies per wall second, lost, p50/p99 latency (us), replies per CPU second of PID.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
static double now(void){struct timespec t;clock_gettime(CLOCK_MONOTONIC,&t);return t.tv_sec+t.tv_nsec*1e-9;}
static double cpu(int pid){char p[64],b[1024];snprintf(p,64,"/proc/%d/stat",pid);FILE*f=fopen(p,"r");if(!f)return 0;size_t n=fread(b,1,1023,f);fclose(f);b[n]=0;char*q=strrchr(b,')');unsigned long u=0,s=0;sscanf(q+2,"%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",&u,&s);return (double)(u+s)/sysconf(_SC_CLK_TCK);}
static uint8_t rnd20[20],fixed[20];static int hasKey;
static void rnd(uint8_t*p,int n){for(int i=0;i<n;i++)p[i]=rand();}
static int build(uint8_t*b,const char*kind,uint32_t tid,const uint8_t*id){
  uint8_t*p=b;int ids=!strcmp(kind,"ids"),g=ids||!strcmp(kind,"get"),f=!strcmp(kind,"find");if(ids)kind="get";
  *p++=0x85; *p++=0xa1;*p++='a'; *p++=0x80|(ids?3:g||f?2:1);
  *p++=0xa2;*p++='i';*p++='d';*p++=0xc4;*p++=20;memcpy(p,id,20);p+=20;
  if(f){*p++=0xa6;memcpy(p,"target",6);p+=6;*p++=0xc4;*p++=20;rnd(p,20);p+=20;}
  if(g){*p++=0xa1;*p++='h';*p++=0xc4;*p++=20;if(hasKey)memcpy(p,fixed,20);else rnd(p,20);p+=20;}
  if(ids){memcpy(p,"\xa1q\x82\xa1s\x91\x01\xa1w\x90",10);p+=10;}
  *p++=0xa1;*p++='q';int l=strlen(kind);*p++=0xa0|l;memcpy(p,kind,l);p+=l;
  *p++=0xa1;*p++='t';*p++=0xce;*p++=tid>>24;*p++=tid>>16;*p++=tid>>8;*p++=tid;
  *p++=0xa1;*p++='y';*p++=0xa1;*p++='q';
  *p++=0xa1;*p++='v';*p++=0xa4;memcpy(p,"RNG1",4);p+=4;return p-b;}
static int cmp(const void*a,const void*b){float x=*(float*)a,y=*(float*)b;return x<y?-1:x>y;}
int main(int c,char**v){
  if(c<6){fprintf(stderr,"usage: dhtload PORT ping|find|get|ids SECONDS WINDOW SOURCES [PID [KEY DATAGRAMS]]\n");return 2;}
  int port=atoi(v[1]);char*kind=v[2];double secs=atof(v[3]);int win=atoi(v[4]),ns=atoi(v[5]),pid=c>6?atoi(v[6]):0,per=c>8?atoi(v[8]):1;
  if(c>7){hasKey=1;for(int i=0;i<20;i++){unsigned x=0;sscanf(v[7]+2*i,"%2x",&x);fixed[i]=x;}}
  if(ns>4000)ns=4000; srand(1);rnd(rnd20,20);
  int ep=epoll_create1(0);int*fd=calloc(ns,4);double*sent=calloc(ns,8);int*parts=calloc(ns,sizeof(int));uint8_t(*ids)[20]=calloc(ns,20);
  for(int i=0;i<ns;i++){fd[i]=socket(AF_INET,SOCK_DGRAM|SOCK_NONBLOCK,0);
    struct sockaddr_in a={.sin_family=AF_INET};a.sin_addr.s_addr=htonl(0x7f010000u+0x101+i*7);
    if(bind(fd[i],(void*)&a,sizeof a))perror("bind");
    struct sockaddr_in d={.sin_family=AF_INET,.sin_port=htons(port)};d.sin_addr.s_addr=htonl(0x7f000001);
    connect(fd[i],(void*)&d,sizeof d);struct epoll_event e={.events=EPOLLIN,.data.u32=i};epoll_ctl(ep,EPOLL_CTL_ADD,fd[i],&e);rnd(ids[i],20);}
  long got=0,lost=0,cap=4000000;float*lat=malloc(cap*4);uint32_t tid=1;uint8_t b[2048];double t0=now(),end=t0+secs,c0=pid?cpu(pid):0,sweep=t0;int infl=0,cur=0;
  while(now()<end){
    while(infl<win){int k=0;while(sent[cur]&&k++<ns)cur=(cur+1)%ns; if(sent[cur])break; int n=build(b,kind,tid++,ids[cur]); if(send(fd[cur],b,n,0)<0)break; sent[cur]=now();parts[cur]=0;infl++;cur=(cur+1)%ns;}
    struct epoll_event ev[64];int n=epoll_wait(ep,ev,64,5);double t=now();
    for(int i=0;i<n;i++){int k=ev[i].data.u32;while(recv(fd[k],b,2048,0)>0){ if(sent[k]&&++parts[k]==per){ if(got<cap)lat[got]=t-sent[k];got++;sent[k]=0;infl--; } } }
    if(t-sweep>.1){sweep=t;for(int k=0;k<ns;k++)if(sent[k]&&t-sent[k]>.5){sent[k]=0;infl--;lost++;}}
  }
  double w=now()-t0,cs=pid?cpu(pid)-c0:0;long m=got<cap?got:cap;qsort(lat,m,4,cmp);
  printf("%s replies=%ld per_s=%.0f lost=%ld p50_us=%.0f p99_us=%.0f cpu_s=%.2f per_cpu_s=%.0f\n",kind,got,got/w,lost,m?lat[m/2]*1e6:0,m?lat[m*99/100]*1e6:0,cs,cs>0?got/cs:0);
  return got?0:1;}
